"""Finds the text of a policy: in a file, of a preset by its name, or of the packaged default; and reads it."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Final

from gate.core.policy import Policy
from gate.errors import PolicyInvalid, file_problem
from gate.policyfile.document import PolicyFile, parse_policy_file
from gate.policyfile.packaged import packaged_config

MAX_FILE_BYTES: Final = 1 << 20
PRESETS: Final = ("calm", "raid", "closed")
"""The packaged policies that `--policy` takes by their name; each is `presets/NAME.toml` of the configuration."""


def default_policy() -> tuple[str, str]:
    """Text and name of the packaged policy."""
    return packaged_config("policy.toml")


def load_policy(path: Path | None) -> Policy:
    """The policy at `path`, or the packaged default if it is None. Raises PolicyInvalid."""
    return load_policy_file(path).policy


def load_policy_file(path: Path | None) -> PolicyFile:
    """As `load_policy`, with its document."""
    return parse_policy_file(*policy_text(path))


def policy_text(path: Path | None) -> tuple[str, str]:
    """Text and name of the policy at `path`, of a preset if `path` is its name and no file, or of the packaged default.

    Raises PolicyInvalid.
    """
    if path is None:
        return default_policy()
    if str(path) in PRESETS and not path.is_file():
        return packaged_config(f"presets/{path}.toml")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise PolicyInvalid(str(path), None, "", f"has more than {MAX_FILE_BYTES} bytes; no policy needs as many")
        return data.decode("utf-8-sig"), str(path)  # some editors begin a file with a byte order mark
    except FileNotFoundError as error:
        raise PolicyInvalid(
            str(path), None, "", f"cannot be read: {file_problem(error)}{_preset_meant(path)}"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyInvalid(str(path), None, "", f"cannot be read: {file_problem(error)}") from error


def _preset_meant(path: Path) -> str:
    """A hint where `path` may be meant as the name of a preset."""
    if len(path.parts) != 1 or path.suffix:
        return ""
    close = get_close_matches(str(path).lower(), PRESETS, n=1)
    return f"; did you mean {close[0]}?" if close else f"; presets are {', '.join(PRESETS)}"
