"""Labels are closed sets: whatever callers send, no word of theirs becomes one."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.app.check import Check
from gate.core.account import Account
from gate.core.decision import Stage, Verdict
from gate.core.media import Media
from gate.core.pause.board import Board
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Action, Scope
from gate.core.pseudonym import Pseudonyms
from gate.core.request import CheckRequest
from gate.metrics import STORE_ERROR_KINDS, TABLE, Counts, Gauges, Named, exposition, gate_registry
from gate.policyfile import load_policy
from gate.serve.problems import ALL_REASONS
from gate.stores.local_buckets import LocalBuckets
from gate.stores.memory.accounts import MemoryAccountStore

NOW_US = 1_800_000_000_000_000
POLICY = load_policy(None)


class Standstill:
    def now_us(self) -> int:
        return NOW_US


def gauges() -> Gauges:
    return Gauges(1, 0, 3, 0.5, POLICY.hash, 0, 1.0, 2.0, lease_held={("platform", "platform.uploads"): 40})


def a_check(counts: Counts) -> Check:
    store = MemoryAccountStore(Standstill())
    return Check(POLICY, store, Standstill(), Pseudonyms(b"salt"), counts, time.perf_counter_ns, LocalBuckets)


def closed_reasons() -> set[str]:
    return (
        {
            "allow",
            "overload",
            "deny_list",
            "override.allow",
            "override.deny",
            "score.deny",
            "score.challenge",
            "score.review",
        }
        | {limit.name for limit in POLICY.limits}
        | {f"pause.{reason}" for reason in POLICY.reasons}
    )


words = st.text(min_size=1, max_size=8)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(words, words, words, words), min_size=1, max_size=5), st.none() | words)
async def test_hostile_input_never_makes_a_label(sent: list[tuple[str, str, str, str]], reason: str | None) -> None:
    counts = Counts()
    check = a_check(counts)
    if reason is not None:
        pause = Pause("p", 1, Scope(), Action.STOP, reason, "", "ann", NOW_US - 1, NOW_US + 1)
        check.board = Board({"p": pause})

    for upload, account, class_, surface in sent:
        await check.check(CheckRequest(upload, Account(account, class_), Media("image"), surface))

    labels = set(counts.decisions)
    assert {decision for decision, *_ in labels} <= set(Verdict)
    assert {class_ for _, class_, *_ in labels} <= set(POLICY.classes)
    assert {stage for _, _, stage, _ in labels} <= set(Stage)
    assert {reason for *_, reason in labels} <= closed_reasons()


def test_every_metric_of_the_table_is_exported_and_no_other() -> None:
    counts = Counts()
    counts.decisions["allow", "new", "default", "allow"] = 2
    counts.shadow["account.uploads.day"] = 1
    counts.would_hold("p-1", "stop", "pause.raid")
    counts.reject("field.missing")
    counts.ignored({"ip": "value.invalid"})
    counts.unknown_field("device")

    families = list(gate_registry(counts, gauges).collect())

    names = {
        name if kind != "counter" else name.removesuffix("_total") for name, kind in ((t.name, t.kind) for t in TABLE)
    }
    assert {family.name for family in families} == names
    for family in families:
        assert family.samples, family.name
    assert set(counts.rejected) <= ALL_REASONS
    assert set(counts.store_errors) == set(STORE_ERROR_KINDS)


def test_the_histogram_has_bounds_at_a_millisecond_and_at_the_deadline() -> None:
    text = exposition(gate_registry(Counts(), gauges)).decode()

    assert 'upload_gate_check_seconds_bucket{le="0.001"} 0.0' in text
    assert f'le="{POLICY.deadline_us / 1e6:g}"' in text


def test_reading_the_metrics_twice_gives_the_same() -> None:
    counts = Counts()
    counts.reject("ip.invalid")
    registry = gate_registry(counts, gauges)

    assert exposition(registry) == exposition(registry)


def test_a_metric_of_the_table_without_values_is_named_when_the_gate_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gate.metrics.TABLE", (*TABLE, Named("upload_gate_new_total", "counter", (), "New")))

    with pytest.raises(KeyError, match="nothing gives the values of upload_gate_new_total"):
        gate_registry(Counts(), gauges)
