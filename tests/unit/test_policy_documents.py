"""The document of a policy: its dump, its hash, its schema for editors, and how two of them differ."""

from __future__ import annotations

import json
import re
import time
import tomllib
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.app.check import Check
from gate.core.account import Account
from gate.core.limits.take import TakeRequest, TakeResult
from gate.core.media import Media
from gate.core.pseudonym import Pseudonyms
from gate.core.request import CheckRequest
from gate.errors import StoreUnavailable
from gate.metrics import Counts
from gate.policyfile import (
    PRESETS,
    PolicyFile,
    check_policy,
    load_policy,
    load_policy_file,
    packaged_config,
    parse_policy_file,
)
from gate.policyfile.differences import differences
from gate.policyfile.schema import FILE, policy_schema
from gate.policyfile.toml_text import toml_text
from gate.stores.local_buckets import LocalBuckets
from gate.stores.memory.accounts import MemoryAccountStore


class Standstill:
    """A clock that stands."""

    def now_us(self) -> int:
        return 1_800_000_000_000_000


class AwayStore(MemoryAccountStore):
    """A store that does not answer."""

    def __init__(self) -> None:
        super().__init__(Standstill())

    async def take(self, request: TakeRequest) -> TakeResult:
        raise StoreUnavailable("it is away")


CONFIG = Path(__file__).parents[2] / "config"
SCHEMA = jsonschema.Draft7Validator(json.loads(policy_schema()))
PACKAGED = tomllib.loads(packaged_config("policy.toml")[0])
NOT_IN_A_SCHEMA = (
    "is not declared", "must not fall", "is not what check.upload_lifetime", "longer than 31 days", "in_flight is counted for",
    "in flight can be counted", "more than a year", "would match nothing", "is missing; write the class",
    "is not among the kinds of",
)  # fmt: skip
"""What only the reader can tell: it follows from other keys, or from how names are compared."""
SMALL: dict[str, Any] = {
    "version": 1,
    "default_class": "regular",
    "classes": {"regular": {"score": {"deny": 0.9}}, "new": {}},
    "limits": {"a": {"on": "account", "per": "1m", "rates": {"regular": {"rate": 10, "burst": 15}}}},
}


def complaints(document: dict[str, Any]) -> list[str]:
    return [str(each) for each in check_policy(toml_text(document), "p")[1]]


@pytest.mark.parametrize("preset", [None, *PRESETS])
def test_a_dump_reads_back_as_the_same_policy_with_the_same_hash(preset: str | None) -> None:
    loaded = load_policy_file(None if preset is None else Path(preset))

    again = parse_policy_file(toml_text(loaded.document), "dump")

    assert again == loaded


def test_a_default_that_is_written_out_and_another_spelling_change_neither_hash_nor_content() -> None:
    written = deepcopy(SMALL)
    written["check"] = {"deadline": "50ms", "upload_lifetime": "60m"}
    written["limits"]["a"] |= {"per": "60s", "unit": "uploads", "mode": "enforce", "on_store_error": "local"}
    written["known"] = {"kinds": ["*"]}

    one, other = (parse_policy_file(toml_text(each), "p") for each in (SMALL, written))

    assert one.policy.hash == other.policy.hash
    assert differences(one.document, other.document) == []


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("controls", {"second_person": ["exempt", "over-24h"]}),
        ("known", {"kinds": ["video", "image"], "countries": ["DE", "AT"]}),
        ("deny", {"accounts": ["b", "a"]}),
        ("reasons", ["raid", "drill"]),
    ],
)
def test_the_order_of_a_list_is_no_difference_and_one_value_less_is(key: str, values: Any) -> None:
    def with_lists(change: Callable[[list[str]], list[str]]) -> PolicyFile:
        lists = change(values) if isinstance(values, list) else {name: change(each) for name, each in values.items()}
        return parse_policy_file(toml_text({**SMALL, key: lists}), "p")

    one, turned, less = with_lists(list), with_lists(lambda each: each[::-1]), with_lists(lambda each: each[:1])

    assert one.policy.hash == turned.policy.hash != less.policy.hash
    assert differences(one.document, turned.document) == []
    assert {each.path[0] for each in differences(one.document, less.document)} == {key}


def test_the_order_of_classes_by_which_overload_refuses_them_is_a_difference_and_that_of_limits_is_none() -> None:
    turned = {**SMALL, "classes": dict(reversed(SMALL["classes"].items()))}
    two = {**SMALL, "limits": {"a": SMALL["limits"]["a"], "b": SMALL["limits"]["a"]}}
    two_turned = {**two, "limits": dict(reversed(two["limits"].items()))}

    one, other, limits, limits_turned = (
        parse_policy_file(toml_text(each), "p") for each in (SMALL, turned, two, two_turned)
    )

    ranks = [{each.name: each.rank for each in read.policy.class_limits} for read in (one, other)]
    assert ranks == [{"regular": 0, "new": 1}, {"regular": 1, "new": 0}]
    assert one.policy.hash != other.policy.hash
    (order,) = differences(one.document, other.document)
    assert order.text == "classes: the order regular, new becomes the order new, regular"
    assert limits.policy.hash == limits_turned.policy.hash
    assert differences(limits.document, limits_turned.document) == []


def test_the_schema_in_the_configuration_is_the_one_that_is_generated() -> None:
    assert (CONFIG / "schemas" / FILE).read_bytes() == policy_schema()
    jsonschema.Draft7Validator.check_schema(json.loads(policy_schema()))


@pytest.mark.parametrize("name", ["policy.toml", *(f"presets/{preset}.toml" for preset in PRESETS)])
def test_the_packaged_policies_pass_schema_and_reader_and_name_the_schema(name: str) -> None:
    text, place = packaged_config(name)

    errors = list(SCHEMA.iter_errors(tomllib.loads(text)))

    assert errors == []
    assert check_policy(text, name)[1] == []
    named = text.splitlines()[0].removeprefix("#:schema ")
    assert (Path(place).parent / named).resolve() == CONFIG / "schemas" / FILE


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("version",), 2), (("version",), "1"), (("default_class",), ""), (("default_class",), 3), (("brust",), 1),
        (("reasons",), "raid"), (("reasons",), [""]), (("reasons",), [1]), (("derive",), {"old_class": "new"}),
        (("derive",), {"new_below": "7 days"}), (("score",), {"max_age": 7}), (("score",), {"max_age": "0d"}),
        (("check",), {"deadline": "\u0661s"}), (("check",), {"deadline": "-1s"}),
        (("deny",), {"accounts": "a"}), (("known",), {"kinds": [""]}), (("known",), {"kind": ["image"]}),
        (("classes",), {}), (("classes",), []), (("classes", "regular"), {"scores": {}}),
        (("classes", "regular", "score"), {"deny": 1.5}), (("classes", "regular", "score"), {"deny": True}),
        (("classes", "regular", "score"), {"deny": "0.9"}), (("classes", "regular", "score"), {"refuse": 0.9}),
        (("limits", "a"), {}), (("limits", "a", "on"), "acount"), (("limits", "a", "on"), 1),
        (("limits", "a", "unit"), "bits"), (("limits", "a", "per"), "1 minute"), (("limits", "a", "mode"), "dry"),
        (("limits", "a", "on_store_error"), "close"), (("limits", "a", "rates"), {}),
        (("limits", "a", "rates", "regular"), {"rate": 1}), (("limits", "a", "rates", "regular"), 5),
        (("limits", "a", "rates", "regular"), {"rate": -1, "burst": 1}),
        (("limits", "a", "rates", "regular"), {"rate": 1.5, "burst": 1}),
        (("limits", "a", "rates", "regular"), {"rate": True, "burst": 1}),
        (("limits", "a", "rates", "regular"), {"rate": "10GB", "burst": 1}),
        (("limits", "a", "rates", "regular"), {"rate": 1, "burst": 1, "brust": 1}),
    ],
)  # fmt: skip
def test_what_the_schema_refuses_the_reader_refuses_too(path: tuple[str, ...], value: object) -> None:
    document = changed(SMALL, path, value)

    assert not SCHEMA.is_valid(document)
    assert complaints(document)


@given(st.data())
def test_reader_and_schema_agree_on_changed_policies(data: st.DataObject) -> None:
    document = deepcopy(PACKAGED)
    for _ in range(data.draw(st.integers(0, 2))):
        document = changed(document, data.draw(paths(document)), data.draw(VALUES))

    told = complaints(document)

    if not SCHEMA.is_valid(document):
        assert told
    elif told:
        assert [
            line for line in told if not (TOLD_BY_READER.search(line) or any(r in line for r in NOT_IN_A_SCHEMA))
        ] == []


TOLD_BY_READER = re.compile(r"('[0-9]+[KMGT]iB'|[0-9]+\.0|[0-9.]+e\+[0-9]+) is not a whole number from 0 on")
"""A size is right where a limit counts bytes, which a schema of this kind tells by no other key; and 3.0 is an integer."""
VALUES: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([
        0, 1, -1, 5, 1 << 51, 0.5, 1.5, True, "", "1h", "0s", "90s", "1GiB", "enforce", "shadow", "open", "ip",
        "bytes", "in_flight", "keep", "regular", "Regular", "nobody", "*", [], ["raid"], ["Raid"], [""], {},
        {"rate": 1, "burst": 1}, {"deny": 0.1}, {"on": "account", "per": "1h", "rates": {"new": {"rate": 1, "burst": 1}}},
    ]),
    st.integers(), st.floats(0, 1), st.text(max_size=5),
)  # fmt: skip


def paths(document: dict[str, Any]) -> st.SearchStrategy[tuple[str, ...]]:
    """A key of the document, or a new one beside it."""
    found: list[tuple[str, ...]] = []

    def walk(path: tuple[str, ...], table: dict[str, Any]) -> None:
        found.append((*path, "brust"))
        for key, value in table.items():
            found.append((*path, key))
            if isinstance(value, dict):
                walk((*path, key), value)

    walk((), document)
    return st.sampled_from(found)


def changed(document: dict[str, Any], path: tuple[str, ...], value: object) -> dict[str, Any]:
    copy = deepcopy(document)
    table = copy
    for key in path[:-1]:
        if not isinstance(table.get(key), dict):
            table[key] = {}
        table = table[key]
    table[path[-1]] = value
    return copy


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        (("limits", "a", "rates", "regular", "burst"), 5, "limits.a.rates.regular.burst: 15 becomes 5 (tighter)"),
        (("limits", "a", "rates", "new"), {"rate": 3, "burst": 5}, "limits.a.rates.new: rate 3, burst 5 is added (tighter)"),
        (("limits", "a", "per"), "1s", "limits.a.per: 1m becomes 1s (looser)"),
        (("limits", "a", "mode"), "shadow", "limits.a.mode: enforce becomes shadow (looser)"),
        (("limits", "a", "on_store_error"), "closed", "limits.a.on_store_error: local becomes closed (tighter)"),
        (("classes", "regular", "score", "deny"), 0.8, "classes.regular.score.deny: 0.9 becomes 0.8 (tighter)"),
        (("classes", "regular", "score"), {}, "classes.regular.score.deny: 0.9 is removed (looser)"),
        (("deny",), {"accounts": ["a-1"]}, "deny.accounts: with a-1 (tighter)"),
        (("reasons",), ["raid"], "reasons: without scam-wave, bot-wave, legal, capacity, drill, other"),
        (("default_class",), "new", "default_class: regular becomes new"),
        (("check",), {"deadline": "1s"}, "check.deadline: 50ms becomes 1s"),
    ],
)  # fmt: skip
def test_a_difference_names_the_key_both_values_and_which_is_stricter(
    path: tuple[str, ...], value: object, text: str
) -> None:
    before, after = (parse_policy_file(toml_text(each), "p").document for each in (SMALL, changed(SMALL, path, value)))

    found = differences(before, after)

    assert [each.text for each in found] == [text]
    assert [each.effect.reverse for each in found] == [each.effect for each in differences(after, before)]


def test_a_removed_limit_is_one_difference_and_lets_more_pass() -> None:
    after = deepcopy(SMALL)
    after["limits"] = {}

    found = differences(*(parse_policy_file(toml_text(each), "p").document for each in (SMALL, after)))

    assert [(each.key, each.effect) for each in found] == [("limits.a", "looser")]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a = " + "[" * 5_000, "nested too deeply"),
        ("version = " + "9" * 5_000, "cannot be read"),
        ("a." * 5_000 + "b = 1", "unknown key"),
        ('version = 1\ndefault_class = "a"\n[check]\ndeadline = "1m\\n"', "is not a duration"),
        ('version = 1\ndefault_class = "a"\n[check]\ndeadline = "\u0661m"', "is not a duration"),
    ],
    ids=["deep", "long number", "dotted", "newline", "arabic digit"],
)
def test_hostile_files_are_complaints_and_no_faults(text: str, told: str) -> None:
    policy, found = check_policy(text, "p.toml")

    assert policy is None
    assert any(told in str(each) for each in found)


def test_presets_get_stricter_from_calm_over_the_packaged_policy_to_raid_for_new_accounts() -> None:
    calm, packaged, raid = (load_policy(None if name is None else Path(name)) for name in ("calm", None, "raid"))

    for looser, stricter in ((calm, packaged), (packaged, raid)):
        rates = [{limit.name: limit.rates["new"] for limit in policy.limits} for policy in (looser, stricter)]
        assert all(
            rates[1][name].burst <= rate.burst and rates[1][name].rate <= rate.rate for name, rate in rates[0].items()
        )
        assert (stricter.thresholds["new"].deny or 0) < (looser.thresholds["new"].deny or 0)


@pytest.mark.parametrize("store_is_away", [False, True])
async def test_closed_lets_in_trusted_and_business_accounts_and_nobody_else(store_is_away: bool) -> None:
    policy = load_policy(Path("closed"))
    store = AwayStore() if store_is_away else MemoryAccountStore(Standstill())
    check = Check(policy, store, Standstill(), Pseudonyms(b"s"), Counts(), time.perf_counter_ns, LocalBuckets)

    let_in = {
        class_
        for class_ in policy.classes
        if (await check.check(CheckRequest(class_, Account(class_, class_=class_), Media("image")))).verdict.lets_in
    }

    assert let_in == {"trusted", "business"}


def test_a_file_that_has_the_name_of_a_preset_is_that_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("raid").write_text(toml_text(SMALL))

    assert load_policy(Path("raid")).hash == parse_policy_file(toml_text(SMALL), "p").policy.hash
