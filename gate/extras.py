"""The command that installs an extra of this package where the running program is installed, and with its Python.

It works where no index has the package: pip takes the installed one and adds what the extra needs. A checkout that is run
without having been installed is installed by its path.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

PACKAGE: Final = "upload-gate"


def install_extra(
    extra: str, checkout: Path = Path(__file__).parents[1], installed: Callable[[str], object] = version,
    has_pip: bool | None = None,
) -> str:  # fmt: skip
    """What to do to get the extra: `run /opt/upload-gate/bin/python -m pip install 'upload-gate[streams]'`."""
    try:
        installed(PACKAGE)
        what = shlex.quote(f"{PACKAGE}[{extra}]")
    except PackageNotFoundError:
        what = f"-e {shlex.quote(f'{checkout}[{extra}]')}"
    python = shlex.quote(sys.executable)
    if has_pip is None:
        has_pip = find_spec("pip") is not None
    pip = f"{python} -m pip install" if has_pip else f"uv pip install --python {python}"
    return f"run {pip} {what}"
