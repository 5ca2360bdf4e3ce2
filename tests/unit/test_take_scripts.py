"""Which classes share a take script: those of a policy, whatever there was before, as far as Lua can jump over them."""

from __future__ import annotations

from gate.core.limits.limit import Rate
from gate.core.limits.take import ClassLimits
from gate.stores.redis.take_scripts import MOST_CLASSES, MOST_LINES, Scripts
from tests.take_requests import DAY_US, one_limit

ALWAYS = ClassLimits(None, None, None, (), None, 0, 1)


def a_policy(classes: int, burst: int = 5) -> list[ClassLimits]:
    """As many classes with a limit each."""
    limits = [one_limit(f"class:{n}", "uploads", Rate(burst, DAY_US, burst)) for n in range(classes)]
    return [ClassLimits(None, None, None, (each,), 0.9, DAY_US, DAY_US, name=f"{n}") for n, each in enumerate(limits)]


def test_gates_of_one_policy_write_the_same_script_whatever_policies_they_had_before() -> None:
    one, other = Scripts((ALWAYS,)), Scripts((ALWAYS,))
    for burst in (1, 2, 3):
        other.expect(a_policy(4, burst))
    new, new_there = a_policy(5), a_policy(5)

    one.expect(new)
    other.expect(new_there)

    assert one.of(new[0], new).script.sha == other.of(new_there[0], new_there).script.sha
    assert one.of(ALWAYS, [ALWAYS]) is one.of(new[0], new) is one.of(new[4], new)


def test_checks_of_the_policy_before_and_of_classes_that_nobody_expected_have_scripts_beside_the_policys() -> None:
    scripts, before, further, new = Scripts(), a_policy(3), a_policy(2, 7), a_policy(3, 6)
    scripts.expect(before)
    of_before = scripts.of(before[0], before)

    scripts.expect(new)
    of_new = scripts.of(new[0], new)
    of_further = scripts.of(further[0], [*new, *further])

    assert scripts.of(before[2], before) is of_before
    assert scripts.of(further[1], further) is of_further
    assert set(of_further.classes) == set(further)
    assert scripts.of(new[2], new) is of_new


def test_a_policy_of_many_classes_has_several_scripts_of_bounded_length() -> None:
    scripts, policy = Scripts(), a_policy(5 * MOST_CLASSES + 1)

    scripts.expect(policy)
    found = {id(script): script for script in (scripts.of(each, policy) for each in policy)}

    assert [len(script.classes) <= MOST_CLASSES for script in found.values()] == [True] * len(found)
    assert [script.script.source.count(b"\n") < MOST_LINES for script in found.values()] == [True] * len(found)
    assert sum(len(script.classes) for script in found.values()) == len(policy)
