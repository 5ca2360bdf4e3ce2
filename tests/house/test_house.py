"""House rules as tests: what a reviewer would otherwise have to look for."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.sources import parsed

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SOURCES = sorted([*ROOT.glob("gate/**/*.py"), *ROOT.glob("streams/**/*.py")])
TOP_LEVEL = {"pyproject.toml", "streams", "gate", "config", "deploy", "tests", "README.md"}
BESIDE = {"LICENSE", "CHANGELOG.md", "Makefile", "requirements.lock"}
CONTAINERS = {"list", "dict", "set", "frozenset", "tuple", "deque", "defaultdict", "Counter", "OrderedDict"}
MAX_LINES = 400
MAX_FUNCTION_LINES = 60


def run(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"


def test_imports_keep_to_the_arrows() -> None:
    run(str(BIN / "lint-imports"), "--no-cache")


def test_types_are_strict() -> None:
    run(sys.executable, "-m", "mypy")


def test_the_linter_is_silent() -> None:
    run(sys.executable, "-m", "ruff", "check", ".")


def test_the_formatter_has_nothing_to_do() -> None:
    run(sys.executable, "-m", "ruff", "format", "--check", ".")


def test_the_top_level_holds_only_what_was_agreed() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = {line.split("/")[0] for line in tracked.splitlines()}

    assert {name for name in found if not name.startswith(".")} <= TOP_LEVEL | BESIDE


def test_bounded_dicts_make_room_by_the_one_function_that_is_quick() -> None:
    """To delete the first key of a large dict takes 20 µs, once others were deleted before it."""
    alone = re.compile(r"^ *del \w.*\[next\(iter\(", re.MULTILINE)

    assert alone.search("    del kept[next(iter(kept))]")
    assert not [str(source.relative_to(ROOT)) for source in SOURCES if alone.search(source.read_text())]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_small_and_say_what_they_are_for(source: Path) -> None:
    text = source.read_text()
    tree = parsed(source)
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = [f.name for f in functions if (f.end_lineno or 0) - f.lineno > MAX_FUNCTION_LINES]

    assert text.count("\n") <= MAX_LINES
    assert long == []
    assert ast.get_docstring(tree) or not text.strip()


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_function_makes_a_container_by_a_generic_alias_which_takes_thirty_times_as_long(source: Path) -> None:
    functions = [n for n in ast.walk(parsed(source)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    called = [n.func for f in functions for n in ast.walk(f) if isinstance(n, ast.Call)]

    aliases = [each for each in called if isinstance(each, ast.Subscript) and isinstance(each.value, ast.Name)]
    assert [ast.unparse(each) for each in aliases if each.value.id in CONTAINERS] == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_public_names_are_exact(source: Path) -> None:
    """What `__all__` promises exists, and what another module of ours imports is not private."""
    tree = parsed(source)
    private = [
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("gate", "streams")
        for alias in node.names
        if alias.name.startswith("_")
    ]
    promised = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and [getattr(t, "id", "") for t in node.targets] == ["__all__"]
    ]
    assigned = {getattr(t, "id", "") for n in tree.body if isinstance(n, ast.Assign) for t in n.targets}
    assigned |= {getattr(n.target, "id", "") for n in tree.body if isinstance(n, ast.AnnAssign)}
    defined = (
        assigned
        | {getattr(n, "name", "") for n in tree.body}
        | {
            alias.asname or alias.name
            for n in tree.body
            if isinstance(n, ast.ImportFrom | ast.Import)
            for alias in n.names
        }
    )

    assert private == []
    assert all(name in defined for names in promised for name in names)


@pytest.mark.parametrize("source", sorted(ROOT.glob("gate/**/*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_gate_names_no_module_of_the_streams_even_as_a_string(source: Path) -> None:
    """Commands and processes of the streams come through entry points; prose may name the package."""
    tree = parsed(source)
    prose = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    named = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in prose
        and re.search(r"\bstreams(\.\w|$)", node.value)
    ]

    assert named == []


def test_the_lock_pins_every_dependency_by_hash_and_names_no_host() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    pinned = [line for line in lock.splitlines() if line and not line.startswith((" ", "#"))]

    assert pinned
    assert all("==" in line and line.endswith("\\") for line in pinned)
    assert "://" not in lock


@pytest.mark.slow
def test_the_wheel_installs_and_runs_away_from_the_tree(tmp_path: Path) -> None:
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run(build, check=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    target = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target), str(wheel)], check=True
    )
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import gate, streams, gate.policyfile, streams.files.scorecards\n"
        "assert gate.__file__.startswith(sys.argv[1]), gate.__file__\n"
        "print(gate.policyfile.load_policy(None).hash, streams.files.scorecards.load_scorecard(None).hash)"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, str(target)], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 2
