"""The file of service tokens, which `upload-gate token` writes and each gate on the host reads."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from gate.core.service_token import ServiceToken
from gate.errors import StateUnreadable
from gate.records.tokens_document import MAX_BYTES, decode_tokens, encode_tokens
from gate.stores.disk.ownership import make_folder, open_shared
from gate.stores.disk.whole_file import whole_file

MODE = 0o644
"""A gate may run under another user than the one who makes tokens, and the file holds hashes only."""


class TokenFile:
    """The file `path`. All calls block."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> tuple[ServiceToken, ...] | None:
        """The valid tokens, None if there is no file. Raises StateUnreadable."""
        try:
            with self.path.open("rb") as file:
                return decode_tokens(file.read(MAX_BYTES + 1))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateUnreadable(f"the tokens cannot be read: {error.strerror or error}") from None

    def change(self, act: Callable[[tuple[ServiceToken, ...]], tuple[ServiceToken, ...]]) -> None:
        """Replace the tokens by what `act` makes of them. Two changes at once follow each other.

        Raises OSError, StateUnreadable, and what `act` raises; the file is then as it was.
        """
        make_folder(self.path.parent)
        with open_shared(self.path.with_name(f"{self.path.name}.lock")) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            data = encode_tokens(act(self.read() or ()))
            with whole_file(self.path) as file:
                os.fchmod(file.fileno(), MODE)  # whatever the umask is
                file.write(data)
