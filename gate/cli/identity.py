"""The login that runs a command, as `uid@host`: what four eyes and the audit log know of a person beside a name.

A name is declared by the one who types it. The login comes from the system: the kernel's login id, which `sudo` and `su`
do not change, else the user who called `sudo`, else the process's user. Two people who share one account of one host
share one identity.
"""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

LOGIN_ID: Final = Path("/proc/self/loginuid")
_UNSET: Final = (1 << 32) - 1


def login_identity(
    environ: Mapping[str, str] = os.environ, login_id: Path = LOGIN_ID, effective_uid: Callable[[], int] = os.geteuid
) -> str:
    """The identity, such as `1000@ops-1`."""
    return f"{_uid(environ, login_id, effective_uid())}@{socket.gethostname()}"


def login_name(login_id: Path = LOGIN_ID) -> str | None:
    """The name of the kernel's login id, None where the kernel keeps none or the name is unknown."""
    uid = _login_uid(login_id)
    try:
        return None if uid is None else pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def _uid(environ: Mapping[str, str], login_id: Path, effective: int) -> int:
    uid = _login_uid(login_id)
    if uid is not None:
        return uid
    called_by = environ.get("SUDO_UID", "")
    # a user other than root could write anything into the variable
    return int(called_by) if effective == 0 and called_by.isdecimal() and called_by.isascii() else effective


def _login_uid(login_id: Path) -> int | None:
    try:
        uid = int(login_id.read_text())
    except (OSError, ValueError):
        return None
    return None if uid == _UNSET else uid
