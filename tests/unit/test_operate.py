"""The acts of the kill switch over a store in memory: what is written, who is waited for, what is refused."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace

import pytest

from gate.app.both_channels import BothChannels, OtherChannel
from gate.app.operate import Details, Operate
from gate.app.permission import Authority
from gate.cli.lost_pauses import lacking, lacking_note
from gate.core.account import Account
from gate.core.duration import HOUR_US, MINUTE_US
from gate.core.media import Media
from gate.core.pause.board import KEEP_ENDED_US, Board, UnreadablePause
from gate.core.pause.entry import Pause
from gate.core.pause.four_eyes import TwoPersonRule
from gate.core.pause.index import index_of, strictest
from gate.core.pause.scope import Action, Exemption, PauseMode, Scope
from gate.core.request import CheckRequest
from gate.errors import (
    ControlRefused,
    NotPermitted,
    OperatorError,
    SettingInvalid,
    StoreUnavailable,
    UploadGateError,
)
from gate.ports.audit import AuditOutcome
from gate.ports.boards import Acknowledgement, BoardStore
from gate.records.pause import MAX_REV, fingerprint
from gate.stores.memory.boards import MemoryBoardStore
from tests.audit_in_memory import MemoryAudit

NOON_US = 1_800_000_000_000_000
NEW = Scope(classes=frozenset(("new",)))


class StoppedClock:
    """A clock that moves when it is told to."""

    def __init__(self, now_us: int = NOON_US) -> None:
        self.at_us = now_us

    def now_us(self) -> int:
        return self.at_us


class LosesAnswers(MemoryBoardStore):
    """Writes, then loses the answer; or, told so, does not write either."""

    writes = True

    async def replace(self, expected_rev: int, board: Board) -> bool:
        if self.writes:
            await super().replace(expected_rev, board)
        raise StoreUnavailable("the answer was lost")


def ids() -> Callable[[], str]:
    numbers = itertools.count(1)
    return lambda: f"p-{next(numbers)}"


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


@pytest.fixture
def store(clock: StoppedClock) -> MemoryBoardStore:
    return MemoryBoardStore(clock)


@pytest.fixture
def operate(store: MemoryBoardStore, clock: StoppedClock) -> Operate:
    return Operate(store, ids())


async def raid(operate: Operate, for_us: int = 10 * MINUTE_US) -> Pause:
    return await operate.pause(NEW, Action.STOP, "raid", "bots", "ann", for_us)


async def test_a_pause_is_written_with_the_next_revision_and_its_end(operate: Operate, store: MemoryBoardStore) -> None:
    first = await raid(operate)

    second = await raid(operate)

    board = await store.read()
    assert (first.rev, second.rev) == (1, 2)
    assert board.pauses == {first.id: first, second.id: second}
    assert second.expires_at_us == NOON_US + 10 * MINUTE_US
    assert board.active(NOON_US) == [first, second]


async def test_twenty_pauses_at_once_all_land_with_revisions_of_their_own(
    operate: Operate, store: MemoryBoardStore
) -> None:
    await asyncio.gather(*(raid(operate) for _ in range(20)))

    pauses = (await store.read()).pauses.values()
    assert sorted(pause.rev for pause in pauses) == list(range(1, 21))


async def test_a_released_pause_stays_on_the_board_as_released(
    operate: Operate, store: MemoryBoardStore, clock: StoppedClock
) -> None:
    pause = await raid(operate)
    clock.at_us += MINUTE_US

    released = await operate.release(pause.id, "bob")

    assert (released.rev, released.released_by, released.released_at_us) == (2, "bob", NOON_US + MINUTE_US)
    assert (await store.read()).active(clock.at_us) == []


async def test_releasing_what_is_unknown_names_what_is_active(operate: Operate) -> None:
    pause = await raid(operate)

    with pytest.raises(OperatorError, match=f"no pause p-none.*{pause.id}"):
        await operate.release("p-none", "ann")


async def test_approving_what_is_unknown_names_what_is_active_and_what_waits_for_approval(
    store: MemoryBoardStore,
) -> None:
    shared = ids()
    operate = Operate(store, shared)
    proposing = Operate(store, shared, authority=Authority(rules=ALL_RULES, propose=True))
    active, released = await raid(operate), await raid(operate)
    waiting = await proposing.pause(Scope(), Action.STOP, "raid", "", "ann", HOUR_US)
    await operate.release(released.id, "ann")

    with pytest.raises(OperatorError) as refused:
        await operate.approve("p-none", "bob")

    assert refused.value.remedy == f"active now: {active.id}; not in force yet: {waiting.id}"


async def test_releasing_from_an_empty_board_says_that_no_pause_is_there(operate: Operate) -> None:
    with pytest.raises(OperatorError) as refused:
        await operate.release("p-none", "ann")

    assert refused.value.remedy == "no pause is active, and none waits"


async def test_releasing_what_a_newer_release_wrote_says_what_to_do(operate: Operate, store: MemoryBoardStore) -> None:
    store.put_document(b'{"version":2,"pauses":[{"id":"p-newer","rev":1,"scope":{"ages":["1d"]}}]}')

    with pytest.raises(OperatorError, match="with the release that wrote it"):
        await operate.release("p-newer", "ann")


async def test_releasing_twice_tells_who_did_it(operate: Operate) -> None:
    pause = await raid(operate)
    await operate.release(pause.id, "bob")

    with pytest.raises(OperatorError, match="released already, by bob"):
        await operate.release(pause.id, "ann")


async def test_releasing_what_has_expired_says_so(operate: Operate, clock: StoppedClock) -> None:
    pause = await raid(operate)
    clock.at_us = pause.expires_at_us + MINUTE_US

    with pytest.raises(OperatorError, match="expired already, 1m ago"):
        await operate.release(pause.id, "ann")


@pytest.mark.parametrize(
    ("for_us", "error"), [(24 * HOUR_US + 1, ControlRefused), (0, OperatorError), (-1, OperatorError)]
)
async def test_a_length_one_person_may_not_set_is_refused_and_nothing_written(
    operate: Operate, store: MemoryBoardStore, for_us: int, error: type[UploadGateError]
) -> None:
    with pytest.raises(error):
        await raid(operate, for_us)

    assert (await store.read()).pauses == {}


async def test_what_ended_long_ago_leaves_the_board_and_the_revision_goes_on(
    operate: Operate, store: MemoryBoardStore, clock: StoppedClock
) -> None:
    old = await raid(operate)
    await raid(operate)
    clock.at_us = old.expires_at_us + KEEP_ENDED_US + HOUR_US

    third = await raid(operate)

    assert third.rev == 3
    assert old.id not in (await store.read()).pauses


async def test_machines_that_paused_all_week_leave_room_for_a_person(
    operate: Operate, store: MemoryBoardStore, clock: StoppedClock
) -> None:
    lease = await operate.pause(NEW, Action.STOP, "bot-wave", "a spike", "alerts", MINUTE_US, Details(machine=True))
    week = [
        replace(
            lease, id=f"p-{n}", rev=n, set_at_us=NOON_US + n * MINUTE_US, expires_at_us=NOON_US + (n + 1) * MINUTE_US
        )
        for n in range(1, 1_001)
    ]
    await store.replace(1, Board({each.id: each for each in week}))
    clock.at_us = NOON_US + 24 * HOUR_US
    operate = Operate(store, lambda: "p-now")

    pause = await raid(operate)

    assert (await store.read()).active(clock.at_us) == [pause]


async def test_lists_of_accounts_that_are_over_leave_room_for_the_next_pause(
    operate: Operate, store: MemoryBoardStore, clock: StoppedClock
) -> None:
    for number in range(4):
        accounts = frozenset(f"{number:04d}-3f2504e0-4f89-11d3-9a0c-{each:012d}" for each in range(2_000))
        await operate.pause(Scope(accounts=accounts), Action.STOP, "raid", "", "ann", MINUTE_US)
        clock.at_us += 2 * HOUR_US

    pause = await raid(operate)

    assert (await store.read()).active(clock.at_us) == [pause]


async def test_a_board_that_is_full_of_pauses_in_force_says_how_to_pause_all_the_same(operate: Operate) -> None:
    accounts = [f"3f2504e0-4f89-11d3-9a0c-{each:012d}" for each in range(8_000)]
    for at in range(0, 6_000, 2_000):
        scope = Scope(accounts=frozenset(accounts[at : at + 2_000]))
        await operate.pause(scope, Action.STOP, "raid", "", "ann", HOUR_US)

    with pytest.raises(ControlRefused, match="no room for pause") as refused:
        await operate.pause(Scope(accounts=frozenset(accounts[6_000:])), Action.STOP, "raid", "", "ann", HOUR_US)

    assert "--direct file" in str(refused.value)


async def test_a_write_whose_answer_was_lost_is_found_to_stand(clock: StoppedClock) -> None:
    store = LosesAnswers(clock)

    pause = await raid(Operate(store, ids()))

    assert (await store.read()).pauses == {pause.id: pause}


async def test_a_write_that_never_landed_is_an_error(clock: StoppedClock) -> None:
    store = LosesAnswers(clock)
    store.writes = False

    with pytest.raises(StoreUnavailable):
        await raid(Operate(store, ids()))


async def test_a_board_that_changes_for_ever_ends_in_an_error(clock: StoppedClock) -> None:
    class Contended(MemoryBoardStore):
        async def replace(self, expected_rev: int, board: Board) -> bool:
            return False

    with pytest.raises(UploadGateError, match="changed 200 times"):
        await raid(Operate(Contended(clock), ids()))


async def test_a_pause_has_no_start_and_ends_by_the_stores_clock(operate: Operate, clock: StoppedClock) -> None:
    """An operator's clock is never read: a gate whose clock is off must not find the pause in its future."""
    clock.at_us += HOUR_US

    pause = await raid(operate)

    assert (pause.starts_at_us, pause.set_at_us) == (None, clock.at_us)
    assert pause.active(NOON_US - HOUR_US)
    assert pause.expires_at_us == clock.at_us + 10 * MINUTE_US


async def test_an_acknowledgement_dated_in_the_future_moves_no_pause(
    operate: Operate, store: MemoryBoardStore, clock: StoppedClock
) -> None:
    clock.at_us += 600_000_000
    await store.acknowledge(Acknowledgement("g-1", "http://g-1", 0, 0))
    clock.at_us -= 600_000_000

    pause = await raid(operate)

    assert pause.active(NOON_US)
    assert pause.expires_at_us == NOON_US + 10 * MINUTE_US


async def test_a_revision_lies_above_what_gates_hold_though_the_store_was_restored_to_less(
    operate: Operate, store: MemoryBoardStore
) -> None:
    await store.acknowledge(Acknowledgement("g-1", "http://g-1", 50, 0))
    await store.acknowledge(Acknowledgement("g-2", "http://g-2", MAX_REV, 0))

    assert (await raid(operate)).rev == 51


async def test_what_gates_have_learned_another_way_is_waited_for_before_all_pauses_are_listed(
    operate: Operate, store: MemoryBoardStore
) -> None:
    await store.acknowledge(Acknowledgement("g-1", "http://g-1", 1, 0))
    listing = asyncio.create_task(operate.caught_up_board())
    await asyncio.sleep(0.02)
    before = listing.done()

    written = replace(await raid(Operate(MemoryBoardStore(StoppedClock()), ids())), rev=1)
    await store.replace(0, Board({written.id: written}))

    assert not before
    assert written.id in (await listing).pauses


async def test_an_unreadable_board_is_waited_for_until_a_gate_has_repaired_it(
    operate: Operate, store: MemoryBoardStore
) -> None:
    store.put_document(b"garbage")
    pausing = asyncio.create_task(raid(operate))
    await asyncio.sleep(0.02)
    before = pausing.done()

    await store.repair(Board())

    assert not before
    assert (await pausing).rev == 1


ALL_RULES = frozenset(TwoPersonRule)


def acting(store: MemoryBoardStore, audit: MemoryAudit | None = None, **authority: object) -> Operate:
    return Operate(store, ids(), authority=Authority(**authority), audit=audit)  # type: ignore[arg-type]


async def test_a_change_that_needs_two_persons_waits_as_a_proposal_and_another_one_approves_it(
    store: MemoryBoardStore, clock: StoppedClock
) -> None:
    operate = acting(store, rules=ALL_RULES, propose=True)
    proposed = await operate.pause(Scope(), Action.STOP, "raid", "", "ann", HOUR_US)
    clock.at_us += MINUTE_US

    before = (await store.read()).active(clock.at_us)
    with pytest.raises(NotPermitted, match="ann proposed this"):
        await operate.approve(proposed.id, "ann")
    approved = await operate.approve(proposed.id, "bob")

    assert before == []
    assert (await store.read()).active(clock.at_us) == [approved]
    assert (approved.approver, approved.owner, approved.expires_at_us) == ("bob", "ann", clock.at_us + HOUR_US)


async def test_a_proposal_cannot_be_extended_into_force(store: MemoryBoardStore, clock: StoppedClock) -> None:
    """The proposal of an extension once took the place of the proposal to set the pause, which nobody had approved."""
    operate = acting(store, rules=ALL_RULES, propose=True)
    proposed = await operate.pause(Scope(), Action.STOP, "raid", "", "ann", HOUR_US)

    for acts in (operate, acting(store, rules=ALL_RULES, emergency="in a hurry"), acting(store)):
        with pytest.raises(ControlRefused, match="waits for a second person"):
            await acts.extend(proposed.id, "ann", 30 * HOUR_US)

    board = await store.read()
    assert board.active(clock.at_us) == []
    assert board.pauses[proposed.id] == proposed


@pytest.mark.parametrize("spelling", ["ann", "Ann", "ANN ", " ann", "a\u200bnn", "ａｎｎ"])
async def test_another_spelling_of_a_name_is_no_second_person(store: MemoryBoardStore, spelling: str) -> None:
    operate = acting(store, rules=ALL_RULES, propose=True)
    proposed = await operate.pause(Scope(), Action.STOP, "raid", "", "ann", HOUR_US)

    with pytest.raises(NotPermitted, match="A second person has to approve"):
        await operate.approve(proposed.id, spelling)


async def test_an_extension_of_a_pause_whose_release_is_proposed_is_recorded_as_done(
    store: MemoryBoardStore, clock: StoppedClock
) -> None:
    audit = MemoryAudit()
    pause = await raid(acting(store))
    operate = acting(store, audit, rules=ALL_RULES, propose=True)
    await operate.release(pause.id, "bob")
    clock.at_us += MINUTE_US

    longer = await operate.extend(pause.id, "cid", HOUR_US)

    assert (longer.expires_at_us, longer.proposal is not None) == (clock.at_us + HOUR_US, True)
    assert [(entry.act, entry.outcome) for entry in audit.entries] == [
        ("release", AuditOutcome.PROPOSED),
        ("extend", AuditOutcome.DONE),
    ]


async def test_a_machines_ramp_counts_to_its_minute(store: MemoryBoardStore, clock: StoppedClock) -> None:
    operate = acting(store)
    with pytest.raises(NotPermitted, match="the ramp after it included"):
        await operate.pause(
            NEW, Action.STOP, "raid", "", "bot-alarm", MINUTE_US, Details(machine=True, ramp_us=HOUR_US)
        )
    lease = await operate.pause(NEW, Action.STOP, "raid", "", "bot-alarm", MINUTE_US, Details(machine=True))
    for _ in range(60):
        clock.at_us += MINUTE_US // 2
        await operate.extend(lease.id, "bot-alarm", MINUTE_US, machine=True)

    with pytest.raises(NotPermitted, match="the ramp after it included"):
        await operate.release(lease.id, "bot-alarm", ramp_us=HOUR_US, machine=True)
    released = await operate.release(lease.id, "bot-alarm", machine=True)

    assert released.over_at_us <= clock.at_us + MINUTE_US


@pytest.mark.parametrize("typed", ["1", "P-1", " p-1 "])
async def test_an_id_without_its_beginning_is_met_with_the_one_that_was_meant(operate: Operate, typed: str) -> None:
    pause = await raid(operate)

    with pytest.raises(OperatorError) as unknown:
        await operate.release(typed.replace("1", pause.id.removeprefix("p-")), "bob")

    assert f"Did you mean {pause.id}?" in str(unknown.value)


async def test_a_release_that_is_proposed_leaves_the_pause_in_force_until_it_is_approved(
    store: MemoryBoardStore, clock: StoppedClock
) -> None:
    pause = await raid(acting(store))
    operate = acting(store, rules=ALL_RULES, propose=True)

    await operate.release(pause.id, "bob", ramp_us=0)
    during = (await store.read()).active(clock.at_us)
    released = await operate.approve(pause.id, "cid")

    assert [one.id for one in during] == [pause.id]
    assert (await store.read()).active(clock.at_us) == []
    assert (released.released_by, released.approver, released.ramp_us) == ("bob", "cid", 0)


@pytest.mark.parametrize("rule", TwoPersonRule)
async def test_each_rule_refuses_one_person_and_an_emergency_goes_ahead_with_its_reason(
    store: MemoryBoardStore, rule: TwoPersonRule
) -> None:
    exempt = Exemption(verified=True) if rule is TwoPersonRule.EXEMPT else Exemption()
    scope = Scope() if rule is TwoPersonRule.PLATFORM_WIDE else NEW
    lasts_us = 25 * HOUR_US if rule is TwoPersonRule.LONG else HOUR_US

    async def change(operate: Operate) -> Pause:
        if rule is TwoPersonRule.EARLY:
            return await operate.release((await raid(operate)).id, "bob")
        return await operate.pause(scope, Action.STOP, "raid", "", "ann", lasts_us, Details(exempt=exempt))

    with pytest.raises(ControlRefused, match="needs a second person"):
        await change(acting(store, rules=frozenset({rule})))
    done = await change(acting(store, rules=frozenset({rule}), emergency="INC-1"))
    other = await change(acting(store, rules=frozenset(TwoPersonRule) - {rule, TwoPersonRule.EARLY}))

    assert done.emergency == "INC-1"
    assert done.proposal is None
    assert other.emergency == ""


async def test_a_machine_holds_a_lease_of_a_minute_renews_it_and_touches_no_persons_pause(
    store: MemoryBoardStore, clock: StoppedClock
) -> None:
    operate, machine = acting(store), Details(machine=True)
    persons = await raid(operate)
    lease = await operate.pause(NEW, Action.STOP, "raid", "", "bot-alarm", MINUTE_US, machine)
    clock.at_us += MINUTE_US // 2

    renewed = await operate.extend(lease.id, "bot-alarm", MINUTE_US, machine=True)

    assert renewed.expires_at_us == clock.at_us + MINUTE_US
    for refused in (
        operate.pause(NEW, Action.STOP, "raid", "", "bot-alarm", MINUTE_US + 1, machine),
        operate.pause(Scope(), Action.STOP, "raid", "", "bot-alarm", MINUTE_US, machine),
        operate.extend(persons.id, "bot-alarm", HOUR_US, machine=True),
        operate.release(persons.id, "bot-alarm", machine=True),
    ):
        with pytest.raises(NotPermitted):
            await refused
    assert (await operate.release(lease.id, "ann")).released_by == "ann"
    permitted = acting(store, machines_platform_wide=True)
    assert (await permitted.pause(Scope(), Action.STOP, "raid", "", "bot-alarm", MINUTE_US, machine)).machine


@pytest.mark.parametrize("propose", [False, True])
async def test_a_dry_run_is_enforced_by_one_person_only_where_one_person_might_have_set_it(
    store: MemoryBoardStore, clock: StoppedClock, propose: bool
) -> None:
    operate = acting(store, rules=frozenset((TwoPersonRule.PLATFORM_WIDE,)), propose=propose)
    details = Details(mode=PauseMode.DRY_RUN)
    counting = await operate.pause(Scope(), Action.STOP, "raid", "", "ann", HOUR_US, details)

    with pytest.raises(ControlRefused, match="platform-wide needs a second person"):
        await operate.extend(counting.id, "ann", 0, enforce=True)
    urgent = acting(store, rules=ALL_RULES, emergency="raid now")
    enforced = await urgent.extend(counting.id, "ann", 0, enforce=True)

    assert (enforced.mode, enforced.emergency) == (PauseMode.ENFORCE, "raid now")


async def test_a_person_who_extends_a_machines_pause_takes_it_over_with_the_limits_of_a_person(
    store: MemoryBoardStore, clock: StoppedClock
) -> None:
    operate = acting(store)
    lease = await operate.pause(NEW, Action.STOP, "raid", "", "alerts", MINUTE_US, Details(machine=True))

    with pytest.raises(ControlRefused, match="lasts over 24h"):
        await operate.extend(lease.id, "ann", 30 * 24 * HOUR_US)
    taken = await operate.extend(lease.id, "ann", HOUR_US)
    with pytest.raises(NotPermitted, match="which ann set"):
        await operate.release(lease.id, "alerts", machine=True)

    assert (taken.machine, taken.owner) == (False, "ann")


async def test_a_pause_that_the_store_lost_and_a_gate_obeys_is_released_where_that_gate_is_at_hand(
    store: MemoryBoardStore, clock: StoppedClock
) -> None:
    """Gates whose user of the store may only read cannot write back what a failover lost."""
    held = replace(await raid(Operate(MemoryBoardStore(clock), lambda: "p-lost")), rev=7)
    said = Acknowledgement("g-1", "http://g", 7, 0, boot="b", digest="d", latest=(fingerprint(held),))
    await store.acknowledge(said)

    async def gate_at_hand() -> Board:
        return Board({held.id: held})

    with pytest.raises(ControlRefused, match="pause p-lost was lost in the store, and g-1 still obeys it") as refused:
        await Operate(store, ids(), caught_up_within_s=0.0).release("p-lost", "ann")
    there = Operate(store, ids(), caught_up_within_s=0.0, gate_at_hand=gate_at_hand)
    listed = await there.caught_up_board()
    released = await there.release("p-lost", "ann", ramp_us=0)

    assert "keeper --admin URL" in str(refused.value)
    assert listed.active(clock.at_us) == [held]
    assert (released.rev, released.released_by) == (8, "ann")
    assert (await store.read()).pauses == {"p-lost": released}


def test_pauses_that_a_gate_obeys_and_the_store_lacks_are_named() -> None:
    first, second, third = (
        Pause(f"p-{n}", n, NEW, Action.STOP, "raid", "", "ann", None, NOON_US + HOUR_US, set_at_us=NOON_US)
        for n in (1, 2, 3)
    )
    said = Acknowledgement("g-1", "http://g", 3, 0, latest=(*map(fingerprint, (third, second, first)), "nonsense"))
    newer = UnreadablePause(b"{}", "of a newer release", "p-3", 9)

    assert lacking(said, Board()) == ["p-3", "p-2", "p-1"]
    assert lacking(said, Board({"p-1": first, "p-2": replace(second, rev=5)}, unreadable=(newer,))) == []
    assert lacking(said, Board({"p-1": first, "p-2": replace(second, rev=1), "p-3": third})) == ["p-2"]
    assert lacking_note([said], Board({each.id: each for each in (first, second, third)})) == ()
    assert "gates hold what Redis lacks: p-3, p-2, p-1." in lacking_note([said, said], Board())[0]


async def test_a_share_of_a_scope_stays_the_same_accounts_when_it_is_set_again_and_more_of_them_when_it_is_raised(
    operate: Operate, store: MemoryBoardStore, clock: StoppedClock
) -> None:
    uploads = [CheckRequest("u", Account(f"a-{n}"), Media("image")) for n in range(400)]

    async def held_by(percent: int, scope: Scope = NEW) -> set[str]:
        pause = await operate.pause(scope, Action.STOP, "raid", "", "ann", HOUR_US, Details(percent=percent))
        index = index_of([pause], clock.at_us)
        return {each.account.id for each in uploads if strictest(index, each, "new", clock.at_us) is not None}

    tenth = await held_by(10)
    clock.at_us += 2 * HOUR_US  # it has ended
    again, raised, everyone = await held_by(10), await held_by(30), await held_by(100)
    other = await held_by(10, Scope(kinds=frozenset(("image",))))

    assert again == tenth
    assert len(tenth) < len(raised) < len(everyone) == 400
    assert tenth < raised
    assert other != tenth


async def test_an_extension_only_ever_lengthens(operate: Operate, clock: StoppedClock) -> None:
    pause = await raid(operate)

    with pytest.raises(ControlRefused, match="already lasts 10m more"):
        await operate.extend(pause.id, "ann", MINUTE_US)
    longer = await operate.extend(pause.id, "bob", HOUR_US)

    assert longer.expires_at_us == clock.at_us + HOUR_US


async def test_a_pause_that_only_counts_is_enforced_by_an_extension(operate: Operate, clock: StoppedClock) -> None:
    counting = await operate.pause(
        NEW, Action.STOP, "raid", "", "ann", HOUR_US, Details(mode=PauseMode.DRY_RUN, starts_in_us=MINUTE_US)
    )

    enforced = await operate.extend(counting.id, "ann", 0, enforce=True)

    assert (enforced.mode, enforced.expires_at_us) == (PauseMode.ENFORCE, counting.expires_at_us)
    assert (enforced.starts_at_us, enforced.expires_at_us) == (
        clock.at_us + MINUTE_US,
        clock.at_us + MINUTE_US + HOUR_US,
    )


@pytest.mark.parametrize(
    ("lasted_us", "ramp_us"),
    [(MINUTE_US, 0), (100_000_000, 10_000_000), (HOUR_US, 6 * MINUTE_US), (5 * HOUR_US, 10 * MINUTE_US)],
)
async def test_a_release_ramps_over_a_tenth_of_the_time_in_force(
    operate: Operate, clock: StoppedClock, lasted_us: int, ramp_us: int
) -> None:
    pause = await raid(operate, 10 * HOUR_US)
    clock.at_us += lasted_us

    assert (await operate.release(pause.id, "bob")).ramp_us == ramp_us


async def test_every_change_is_recorded_with_what_was_before_and_after_and_so_is_what_was_refused(
    store: MemoryBoardStore,
) -> None:
    audit = MemoryAudit()
    operate = acting(store, audit)

    pause = await raid(operate)
    released = await operate.release(pause.id, "bob")
    with pytest.raises(OperatorError):
        await operate.release(pause.id, "cid")
    with pytest.raises(ControlRefused):
        await raid(operate, 25 * HOUR_US)

    said = [(one.act, one.who, one.outcome.value, one.before, one.after) for one in audit.entries]
    assert said == [
        ("pause", "ann", "done", None, pause),
        ("release", "bob", "done", pause, released),
        ("release", "cid", "refused", released, None),
        ("pause", "ann", "refused", None, None),
    ]
    assert "released already" in audit.entries[2].detail
    assert [one.wanted for one in audit.entries] == ["", "", "", "stop class new, for 1d 1h, reason raid"]


@pytest.mark.parametrize("filler", ["person", "machine", "dry runs of the whole platform"])
async def test_a_board_that_is_filled_always_has_room_for_a_platform_wide_stop_and_for_releases(
    store: MemoryBoardStore, clock: StoppedClock, filler: str
) -> None:
    machine, mode = filler == "machine", PauseMode.DRY_RUN if "dry" in filler else PauseMode.ENFORCE
    details = Details(machine=machine, ramp_us=0, mode=mode)
    fills = Operate(store, ids())
    accounts = frozenset(f"account-{n:04d}-{'x' * 60}" for n in range(80))
    refused, filled, text = None, 0, ""
    while refused is None:
        scope = Scope(frozenset((f"c-{filled}",)), accounts=accounts if filled % 2 else frozenset())
        if mode is PauseMode.DRY_RUN:
            scope, text = Scope(), "x" * 1_900  # of pauses without a list so many fit that the test would take a minute
        try:
            await fills.pause(scope, Action.STOP, "list", text, "mallory", MINUTE_US, details)
            filled += 1
        except ControlRefused as error:
            refused = error

    stop = await Operate(store, lambda: "p-stop").pause(Scope(), Action.STOP, "raid", "", "ann", HOUR_US)
    released = [await fills.release(f"p-{n}", "somebody with a longer name") for n in range(1, filled + 1)]

    assert "mallory's; release some" in str(refused)
    assert (await store.read()).active(clock.at_us) == [stop]
    assert {pause.released_at_us for pause in released} == {clock.at_us}
    if machine:
        # what a machine may not take is there for persons
        await Operate(store, lambda: "p-new").pause(Scope(frozenset(("new",))), Action.STOP, "raid", "", "ann", HOUR_US)


async def test_leases_that_came_and_went_leave_room_for_the_next(store: MemoryBoardStore, clock: StoppedClock) -> None:
    """A machine that sets a new lease every few seconds once filled the board within the hour."""
    operate = Operate(store, ids())
    text = "x" * 1_900

    for n in range(200):
        scope = Scope(frozenset((f"c-{n}",)))
        await operate.pause(scope, Action.STOP, "alarm", text, "alarm", MINUTE_US, Details(machine=True, ramp_us=0))
        clock.at_us += MINUTE_US // 6

    assert len((await store.read()).pauses) < 100


async def test_a_forged_revision_at_the_top_ends_no_changes(store: MemoryBoardStore, clock: StoppedClock) -> None:
    """One record in Kafka with the highest revision once made every further pause impossible."""
    forged = Pause(
        "p-far", MAX_REV, Scope(), Action.REVIEW, "x", "", "eve", None, clock.at_us + 1, set_at_us=clock.at_us
    )
    await store.replace(0, Board({"p-far": forged}))
    operate = Operate(store, lambda: "p-new")

    pause = await raid(operate)
    longer = await operate.extend(pause.id, "bob", 3 * HOUR_US)
    held = (await store.read()).active(clock.at_us + 2)
    released = await operate.release(pause.id, "ann", ramp_us=0)

    assert held == [longer]
    assert (await store.read()).pauses[pause.id] == released
    assert (await store.read()).active(clock.at_us + 2) == []


async def test_another_channel_that_is_flooded_keeps_no_change_from_being_written(clock: StoppedClock) -> None:
    """1,500 pauses in Kafka are more than a board may hold: the release once was refused for want of room."""
    store, flooded = MemoryBoardStore(clock), Flooded(clock)
    ends_us = clock.at_us + HOUR_US
    flooded.board = Board({
        f"p-k{n}": Pause(f"p-k{n}", n + 1, Scope(frozenset(("k",))), Action.REVIEW, "x", "", "eve", None, ends_us, set_at_us=1)
        for n in range(1_500)
    })  # fmt: skip
    pause = await raid(Operate(store, lambda: "p-new"))
    both = BothChannels(OtherChannel("Kafka", lambda: nullcontext(flooded)))

    released = await Operate(store, lambda: "", channels=both).release(pause.id, "ann", ramp_us=0)

    assert (await store.read()).pauses == {pause.id: released}


async def test_another_channel_whose_address_is_unusable_costs_no_change(store: MemoryBoardStore) -> None:
    def opened() -> AbstractAsyncContextManager[BoardStore]:
        raise SettingInvalid("no such server")

    pause = await raid(Operate(store, lambda: "p-new"))
    operate = Operate(store, lambda: "", channels=BothChannels(OtherChannel("Kafka", opened)))

    released = await operate.release(pause.id, "ann", ramp_us=0)

    assert (await store.read()).pauses == {pause.id: released}
    assert operate.unread[0].startswith("Kafka cannot be read (no such server)")


class Flooded(MemoryBoardStore):
    """A channel that holds more than fits into one document."""

    board = Board()

    async def read(self) -> Board:
        return self.board


async def test_what_waits_longer_than_its_pause_lasts_cannot_be_approved(
    store: MemoryBoardStore, clock: StoppedClock
) -> None:
    operate = acting(store, rules=ALL_RULES, propose=True)
    proposed = await operate.pause(Scope(), Action.STOP, "raid", "", "ann", HOUR_US)
    clock.at_us += HOUR_US

    with pytest.raises(OperatorError, match="expired already"):
        await operate.approve(proposed.id, "bob")

    assert (await store.read()).active(clock.at_us) == []


class Hangs(MemoryBoardStore):
    """Writes, and never returns."""

    def __init__(self, clock: StoppedClock) -> None:
        super().__init__(clock)
        self.wrote = asyncio.Event()

    async def replace(self, expected_rev: int, board: Board) -> bool:
        await super().replace(expected_rev, board)
        self.wrote.set()
        return await asyncio.Future()


async def test_a_change_that_ctrl_c_ends_while_it_is_written_is_recorded(clock: StoppedClock) -> None:
    store, entries = Hangs(clock), MemoryAudit()
    changing = asyncio.create_task(raid(Operate(store, ids(), audit=entries)))
    await store.wrote.wait()

    changing.cancel()
    await asyncio.gather(changing, return_exceptions=True)

    assert [(entry.act, entry.outcome, entry.pause) for entry in entries.entries] == [
        ("pause", AuditOutcome.FAILED, "p-1")
    ]
    assert "it may have been written" in entries.entries[0].detail


@pytest.mark.parametrize(
    ("scope", "reason", "says"),
    [
        (Scope(frozenset(f"c-{n}" for n in range(501))), "raid", "`scope.classes` has more than 500 values"),
        (NEW, "r" * 65, "`reason` is empty or longer than 64"),
    ],
)
async def test_a_pause_that_no_gate_could_read_is_refused_by_what_is_wrong_with_it(
    operate: Operate, store: MemoryBoardStore, scope: Scope, reason: str, says: str
) -> None:
    with pytest.raises(OperatorError, match=f"no gate could read this pause: {says}"):
        await operate.pause(scope, Action.STOP, reason, "", "ann", MINUTE_US)

    assert (await store.read()).pauses == {}


async def test_a_pause_that_was_extended_for_a_year_is_not_refused_for_want_of_room(
    store: MemoryBoardStore, clock: StoppedClock
) -> None:
    operate = Operate(store, ids(), authority=Authority(emergency="a long case"))
    pause = await operate.pause(NEW, Action.STOP, "legal", "", "ann", 300 * 24 * HOUR_US)
    clock.at_us += 299 * 24 * HOUR_US

    with pytest.raises(OperatorError, match="`expires_at` is more than a year after the start"):
        await operate.extend(pause.id, "ann", 90 * 24 * HOUR_US)
