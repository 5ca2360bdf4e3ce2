"""The values of the core are frozen, and those made for each check give the garbage collector nothing to visit."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from gate.core import account, decide, decision, event, hot_facts, media, override, request, score, standing
from gate.core.limits import gcra, limit, reservation, take, token_lease
from gate.core.pause import index

MODULES = (
    *(account, decide, decision, event, hot_facts, media, override, request, score, standing),
    *(gcra, limit, reservation, take, token_lease, index),
)
VISITED = {
    *("Attempted", "Completed", "Removed", "Reported", "Challenged"),
    *("IndexedPause", "LivePauses", "Override", "PauseIndex"),
}
"""The garbage collector visits these: a worker makes the first five, which senders may fill, and few of the others exist."""


VALUES = [
    each
    for module in MODULES
    for each in vars(module).values()
    if isinstance(each, type) and issubclass(each, msgspec.Struct) and each.__module__ == module.__name__
]
NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
AT_NOON = b'{"type":"%s","id":"e","at":"2026-11-27T12:00:00Z","account":{"id":"a"}}'


def test_every_module_of_values_has_some() -> None:
    assert {each.__module__ for each in VALUES} == {module.__name__ for module in MODULES}
    assert {each.__name__ for each in VALUES} >= VISITED


@pytest.mark.parametrize("value", VALUES, ids=lambda each: each.__name__)
def test_no_part_of_a_value_can_be_replaced(value: type[msgspec.Struct]) -> None:
    assert value.__struct_config__.frozen


@pytest.mark.parametrize("value", VALUES, ids=lambda each: each.__name__)
def test_the_garbage_collector_visits_no_value_that_is_made_for_a_check(value: type[msgspec.Struct]) -> None:
    assert value.__struct_config__.gc == (value.__name__ in VISITED)


@pytest.mark.parametrize(
    ("value", "json"),
    [
        (account.Account("a"), b'{"id":"a"}'),
        (media.Media("image"), b'{"kind":"image"}'),
        (
            request.CheckRequest("u", account.Account("a"), media.Media("image")),
            b'{"upload_id":"u","account":{"id":"a"},"media":{"kind":"image"}}',
        ),
        (event.Attempted("e", NOON, account.Account("a")), AT_NOON % b"attempted"),
        (event.Completed("e", NOON, account.Account("a")), AT_NOON % b"completed"),
        (event.Removed("e", NOON, account.Account("a")), AT_NOON % b"removed"),
        (event.Reported("e", NOON, account.Account("a")), AT_NOON % b"reported"),
        (event.Challenged("e", NOON, account.Account("a")), AT_NOON % b"challenged"),
    ],
)
def test_what_a_sender_does_not_know_is_left_out_of_the_json(value: msgspec.Struct, json: bytes) -> None:
    assert msgspec.json.encode(value) == json


def test_a_decision_says_only_what_it_was_given() -> None:
    plain = decision.Decision(
        "u", "a", "new", decision.Verdict.ALLOW, decision.Stage.DEFAULT, "allowed", None, None, "9f2c", 41, None, ()
    )

    assert (plain.degraded, plain.hot, plain.reserved) == ((), None, False)
    assert (plain.room, plain.room_at_us, plain.message, plain.link) == (None, 0, "", "")


def test_only_allow_and_review_let_an_upload_in() -> None:
    assert {verdict for verdict in decision.Verdict if verdict.lets_in} == {"allow", "review"}
