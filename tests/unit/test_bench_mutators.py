"""The mutants of the bench change one place each, and what cannot run or only words a message stays."""

import ast
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.bench.mutation import group
from tests.bench.mutation.lua_mutators import lua_mutants
from tests.bench.mutation.mutators import Mutant, mutants
from tests.bench.report import BenchError
from tests.bench.stage import Stage

SOURCE = '''
from __future__ import annotations

LIMIT = 3


def fits(size: int | None, most: int = LIMIT) -> bool:
    """Whether it fits."""
    if not size:
        raise ValueError(f"of {size + 1}: {most < 2}")
    for each in range(2):
        if size <= each and most > 1:
            continue
    return any([size < most]) and True
'''


def test_each_mutant_changes_one_place_of_the_code() -> None:
    plain = ast.unparse(ast.parse(SOURCE)).splitlines()

    made = [make() for make in mutants(SOURCE)]

    lines = [mutant.source.splitlines() for mutant in made]
    assert all(sum(a != b for a, b in zip(plain, each, strict=True)) == 1 for each in lines)
    assert len({mutant.source for mutant in made}) == len(made)
    assert all(mutant.before != mutant.after for mutant in made)


def test_comparisons_numbers_conditions_and_jumps_are_changed_and_annotations_and_messages_are_not() -> None:
    made = {(mutant.before, mutant.after) for mutant in (make() for make in mutants(SOURCE))}

    assert ("size <= each", "size < each") in made
    assert ("LIMIT = 3", "LIMIT = 4") in made
    assert ("size <= each and most > 1", "size <= each or most > 1") in made
    assert ("continue", "break") in made
    assert ("any([size < most])", "all([size < most])") in made
    assert not [before for before, _ in made if "raise" in before or "None" in before or "{" in before]


def test_the_reported_line_is_the_one_that_changed() -> None:
    (made,) = [mutant for mutant in (make() for make in mutants(SOURCE)) if mutant.after == "break"]

    assert SOURCE.splitlines()[made.line - 1].strip() == "continue"


def test_a_mutant_leaves_the_next_ones_as_they_were() -> None:
    first = [make().source for make in mutants(SOURCE)]
    again = [make().source for make in mutants(SOURCE)]

    assert first == again


LUA = """-- until 5 <= 6
local n, name = 3, 'a < 4 and b'
if n <= 2 and n ~= 1 then return true end
return n * 10 - f(x2, '<I4')
"""


def test_of_a_script_too_and_neither_its_comments_nor_its_texts() -> None:
    made = [make() for make in lua_mutants(LUA)]

    assert [(mutant.line, mutant.after) for mutant in made] == [
        (2, "local n, name = 4, 'a < 4 and b'"),
        (3, "if n < 2 and n ~= 1 then return true end"),
        (3, "if n <= 3 and n ~= 1 then return true end"),
        (3, "if n <= 2 or n ~= 1 then return true end"),
        (3, "if n <= 2 and n == 1 then return true end"),
        (3, "if n <= 2 and n ~= 2 then return true end"),
        (3, "if n <= 2 and n ~= 1 then return false end"),
        (4, "return n / 10 - f(x2, '<I4')"),
        (4, "return n * 11 - f(x2, '<I4')"),
        (4, "return n * 10 + f(x2, '<I4')"),
    ]


PLANTED = group.Planted("lua:settle", group.ROOT / group.LUA / "settle.lua", lambda: Mutant(1, "a", "b", "b"))


def test_a_mutant_is_killed_where_tests_fail_with_it_and_pass_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    met: list[str] = []

    def passes(tests: Sequence[Path], mutant: str) -> bool:
        met.append(mutant)
        return mutant == f"lua:settle={PLANTED.file}"

    monkeypatch.setattr(group, "_passes", passes)
    monkeypatch.setattr(group, "_require_passing", group._require_passing.__wrapped__)

    assert group._is_killed(Stage(print), PLANTED)
    assert len(met) == 2


def test_tests_that_fail_without_a_mutant_give_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group, "_passes", lambda tests, mutant: False)

    with pytest.raises(BenchError, match="fail without a mutant of lua:settle"):
        group._is_killed(Stage(print), PLANTED)


UNCHANGED = f"streams.core.rings={group.ROOT / 'streams/core/rings.py'}"
LOOPS = "def test_it():\n    while True:\n        pass\n"
WAITS = "import select\n\ndef test_it():\n    select.select([], [], [], 1.2)\n"


@pytest.mark.parametrize(("source", "passes"), [(LOOPS, False), (WAITS, True)], ids=["loops", "waits"])
def test_a_test_is_ended_by_its_processor_time_and_not_by_the_time_that_passes(
    source: str, passes: bool, tmp_path: Path
) -> None:
    file = tmp_path / "test_it.py"
    file.write_text(source)

    assert group._passes([file], UNCHANGED, cpu_s=1.0) is passes
