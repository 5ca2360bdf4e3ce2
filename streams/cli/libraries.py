"""The libraries that the commands of a worker and of traffic need beyond those of a gate."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from gate.errors import SettingInvalid
from gate.extras import install_extra

STREAMS_LIBRARIES = ("faust", "aiokafka")


def require_streams() -> None:
    """Raise SettingInvalid if the libraries of the worker are not installed. A gate does not need them."""
    missing = [name for name in STREAMS_LIBRARIES if not _is_installed(name)]
    if missing:
        raise SettingInvalid(
            f"this command needs {' and '.join(missing)}, not installed here", install_extra("streams")
        )


def _is_installed(name: str) -> bool:
    # faust replaces its own module in sys.modules, after which the module has no spec
    return sys.modules[name] is not None if name in sys.modules else find_spec(name) is not None
