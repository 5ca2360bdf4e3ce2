"""A plugin for pytest: loads the module, or `lua:` script, that UPLOAD_GATE_MUTANT names from a file instead of its own.

Ends the run once one test has used UPLOAD_GATE_MUTANT_CPU_S seconds of processor time, because a mutant may loop for
ever. A busy machine gives a test less of its processors, and ends none. Generated examples that fail are not made
smaller, because nobody reads them.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType

import pytest
from hypothesis import Phase, settings

from gate.stores.redis import lua

NAME, _, FILE = os.environ["UPLOAD_GATE_MUTANT"].partition("=")
CPU_S = float(os.environ["UPLOAD_GATE_MUTANT_CPU_S"])


class Changed(SourceFileLoader):
    """Loads a module from its own path, with the text of another file."""

    def get_code(self, fullname: str) -> CodeType:
        return compile(Path(FILE).read_text(), self.path, "exec")


class Place:
    """Looks where every module is looked for, before the others, and knows one alone."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        if fullname != NAME:
            return None
        root = Path(__file__).parents[3] / NAME.replace(".", "/")
        is_package = root.is_dir()
        file = str(root / "__init__.py" if is_package else root.with_suffix(".py"))
        return spec_from_file_location(
            fullname,
            file,
            loader=Changed(fullname, file),
            submodule_search_locations=[str(root)] if is_package else None,
        )


def _change_script(name: str, changed: bytes) -> None:
    plain = lua.script
    lua.script = lambda asked: lua.with_included(changed) if asked == name else plain(asked)


def _grant_processor_time() -> None:
    """From now on: SIGPROF ends a process that uses more, within C code too."""
    signal.setitimer(signal.ITIMER_PROF, CPU_S)


if NAME.startswith("lua:"):
    _change_script(NAME.removeprefix("lua:"), Path(FILE).read_bytes())
else:
    sys.meta_path.insert(0, Place())  # type: ignore[arg-type]


def pytest_configure() -> None:
    """Called once the project's own settings are loaded."""
    settings.register_profile("mutant", settings(), phases=[Phase.explicit, Phase.generate])
    settings.load_profile("mutant")
    _grant_processor_time()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Called before each test; what was used until then was used by the tests before it, or by their import."""
    _grant_processor_time()
