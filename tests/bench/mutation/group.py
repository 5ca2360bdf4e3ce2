"""How many small mistakes in both cores and in the Lua the tests notice: a sample of mutants, by a seed.

Each mutant of a core meets the unit and law tests that import its module, then those one import further away, a dozen
files of each at most; each of a script meets those that run it in a real server. It counts as killed where a test fails,
loops or waits in vain, and the same tests pass without it. Loops are told by processor time, so that a busy machine
kills none. Survivors are printed: some of them change nothing, the others want a test.
"""

from __future__ import annotations

import ast
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.bench.mutation.lua_mutators import lua_mutants
from tests.bench.mutation.mutators import Mutant, mutants
from tests.bench.report import BenchError, Spec
from tests.bench.stage import Stage

ROOT = Path(__file__).parents[3]
CORES = ("gate/core", "streams/core")
TESTS = ("tests/unit", "tests/laws")
A_ROUND = 40
A_TEST_CPU_S = 60.0
"""Processor time of one test, beyond which it loops."""
A_TEST_WAITS_S = 600
"""Seconds after which a test waits in vain; no test of a core waits at all, those of scripts wait for a server."""
FILES_AT_ONCE = 12
GROUPS = 2

LUA = "gate/stores/redis/lua"
SCRIPTS = {
    "take": (
        "contract/test_take_functions.py",
        "contract/test_take_reservations.py",
        "contract/test_take_script.py",
        "laws/test_reservation_laws.py",
        "laws/test_bucket_laws.py",
        "laws/test_decay_laws.py",
        "contract/test_stored_numbers.py",
        "contract/test_account_store.py",
        "contract/test_reservations.py",
        "contract/test_account_store_outages.py",
    ),
    "settle": (
        "contract/test_settle_script.py",
        "laws/test_reservation_laws.py",
        "contract/test_reservations.py",
        "contract/test_stored_numbers.py",
    ),
    "exchange": ("laws/test_exchange_script.py", "laws/test_exchange_laws.py", "contract/test_token_leases.py"),
    "clock": ("laws/test_exchange_script.py", "contract/test_reservations.py"),
    "buckets": ("contract/test_bucket_values.py", "laws/test_exchange_script.py", "laws/test_reservation_laws.py"),
    "put_scores": (
        "contract/test_put_scores_script.py",
        "contract/test_score_order.py",
        "contract/test_account_store.py",
        "contract/test_stored_numbers.py",
    ),
    **dict.fromkeys(
        ("acknowledge", "gates", "replace_board", "repair_board", "mark_filled", "forget_scores"),
        ("contract/test_small_scripts.py",),
    ),
}
"""The scripts, each with the tests that run it."""
KILLED = {
    place: Spec(f"mutants of {place} that tests notice", "share", 0.85, 0.95, higher_is_better=True)
    for place in (*CORES, LUA)
}
SPECS = tuple(KILLED.values())


@dataclass(frozen=True, slots=True)
class Planted:
    """A mutant and the module that it is of, as Python names it, with the module's own file."""

    module: str
    file: Path
    make: Callable[[], Mutant]


def measure(stage: Stage, rounds: int) -> dict[Spec, list[float]]:
    """A round is `A_ROUND` mutants of each core; the same seed gives the same ones."""
    runs: dict[Spec, list[float]] = {}
    for core, spec in KILLED.items():
        planted = list(_planted(core))
        sample = random.Random(core).sample(planted, min(len(planted), A_ROUND * rounds))
        killed = 0
        for n, each in enumerate(sample):
            killed += _is_killed(stage, each)
            if (n + 1) % 10 == 0:
                stage.say(f"{core}: {killed} of {n + 1} mutants killed ({len(planted):,} places in all)")
        runs[spec] = [killed / len(sample)]
    return runs


def _planted(core: str) -> Iterator[Planted]:
    if core == LUA:
        for name in SCRIPTS:
            own = ROOT / LUA / f"{name}.lua"
            for make in lua_mutants(own.read_text()):
                yield Planted(f"lua:{name}", own, make)
    for file in sorted((ROOT / core).rglob("*.py")):
        for make in mutants(file.read_text()):
            yield Planted(_module(file), file, make)


def _is_killed(stage: Stage, planted: Planted) -> bool:
    mutant = planted.make()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "mutant.py")
        file.write_text(mutant.source)
        for tests in _tests(planted.module):
            if not _passes(tests, f"{planted.module}={file}"):
                _require_passing(tuple(tests), f"{planted.module}={planted.file}")
                return True
    stage.say(f"  survives: {planted.module}, line {mutant.line}: {mutant.before!r} as {mutant.after!r}")
    return False


@cache
def _require_passing(tests: Sequence[Path], unchanged: str) -> None:
    """Raises BenchError if the tests fail without a mutant too: then that they fail with one says nothing."""
    if not _passes(tests, unchanged):
        names = " ".join(str(file.relative_to(ROOT)) for file in tests)
        raise BenchError(
            f"tests fail without a mutant of {unchanged.partition('=')[0]}, so no figure is known: {names}"
        )


def _passes(tests: Sequence[Path], mutant: str, cpu_s: float = A_TEST_CPU_S) -> bool:
    command = [sys.executable, "-m", "pytest", "-qx", "-p", "tests.bench.mutation.in_place", "-p", "no:cacheprovider"]
    told = {"UPLOAD_GATE_MUTANT": mutant, "UPLOAD_GATE_MUTANT_CPU_S": str(cpu_s), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*command, "-m", "not slow", "--timeout", str(A_TEST_WAITS_S), *map(str, tests)],
        cwd=ROOT,
        env=os.environ | told,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return done.returncode in (0, 5)  # 5: no test was selected


def _tests(module: str) -> Iterator[list[Path]]:
    """The tests that run a script; for a module two groups: the tests that import it, and those that import it one step
    further away.
    """
    if module.startswith("lua:"):
        yield [ROOT / "tests" / file for file in SCRIPTS[module.removeprefix("lua:")]]
        return
    met: set[Path] = set()
    near, groups = {module}, 0
    while near and groups < GROUPS:
        files = [file for file, names in _imports_of_tests().items() if names & near and file not in met]
        met.update(files)
        if files:
            groups += 1
            yield sorted(files, key=lambda file: _distance(module, file))[:FILES_AT_ONCE]
        near = {name for name, names in _imports_of_modules().items() if names & near}


def _distance(module: str, file: Path) -> tuple[bool, bool, int]:
    """A key that sorts the files first that are most likely to notice, and notice soon."""
    return module.rpartition(".")[2] not in file.stem, file.parent.name != "unit", file.stat().st_size


@cache
def _imports_of_tests() -> dict[Path, frozenset[str]]:
    files = sorted(file for folder in TESTS for file in (ROOT / folder).rglob("test_*.py"))
    return {file: _imports(file) for file in files}


@cache
def _imports_of_modules() -> dict[str, frozenset[str]]:
    files = sorted(file for half in ("gate", "streams") for file in (ROOT / half).rglob("*.py"))
    return {_module(file): _imports(file) for file in files}


def _imports(file: Path) -> frozenset[str]:
    """The names of modules that a file imports, and `package.name` of all names that it takes from a package."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(found)


def _module(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
