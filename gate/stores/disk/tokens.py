"""The file of service tokens, which `upload-gate token` writes and each gate on the host reads."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from gate.core.service_token import ServiceToken
from gate.errors import StateUnreadable
from gate.records.tokens_document import MAX_BYTES, decode_tokens, encode_tokens
from gate.stores.disk.ownership import make_folder, open_shared

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
            self._write(encode_tokens(act(self.read() or ())))

    def _write(self, data: bytes) -> None:
        handle, draft = tempfile.mkstemp(prefix=f"{self.path.name}.", dir=self.path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fchmod(file.fileno(), MODE)
                os.fsync(file.fileno())
            Path(draft).replace(self.path)
        finally:
            with suppress(FileNotFoundError):
                Path(draft).unlink()
