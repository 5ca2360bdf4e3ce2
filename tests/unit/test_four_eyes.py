"""A second person in the shipped policy: one person pauses at once, and releases alone only what they set just now."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace

import pytest

from gate.app.operate import Details, Operate
from gate.app.permission import Authority
from gate.cli.pause_intention import first_alone
from gate.core.account import Account
from gate.core.duration import HOUR_US, MINUTE_US
from gate.core.media import Media
from gate.core.pause.board import Board
from gate.core.pause.entry import Pause, PauseChange
from gate.core.pause.four_eyes import TwoPersonRule, unapproved_end_us
from gate.core.pause.index import index_of, strictest
from gate.core.pause.scope import NOBODY, Action, Exemption, PauseMode, Scope
from gate.core.request import CheckRequest
from gate.errors import ControlRefused, NotPermitted
from gate.policyfile import load_policy, parse_policy
from gate.ports.audit import AuditEntry
from gate.stores.memory.boards import MemoryBoardStore

NOON_US = 1_800_000_000_000_000
NEW = Scope(classes=frozenset(("new",)))
VERIFIED = Exemption(verified=True)


@dataclass
class Site:
    """A board, its clock and its audit log. `as_` returns the acts of the person of one login under the shipped policy."""

    at_us: int = NOON_US
    entries: list[AuditEntry] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = MemoryBoardStore(self)
        self._ids = itertools.count(1)

    def now_us(self) -> int:
        return self.at_us

    def record(self, entry: AuditEntry) -> None:
        self.entries.append(entry)

    def as_(self, login: str, propose: bool = False, emergency: str = "") -> Operate:
        policy = load_policy(None)
        authority = Authority(
            policy.second_person, propose=propose, emergency=emergency, identity=login, alone_us=policy.alone_us
        )
        return Operate(self.store, lambda: f"p-{next(self._ids)}", authority=authority, audit=self)

    async def pause(self, scope: Scope = NEW, for_us: int = 4 * HOUR_US, exempt: Exemption = NOBODY) -> Pause:
        """What ann sets from her login."""
        return await self.as_("ann@a").pause(scope, Action.STOP, "raid", "", "ann", for_us, Details(exempt=exempt))


@pytest.fixture
def site() -> Site:
    return Site()


def test_the_shipped_policy_and_one_without_controls_ask_for_a_second_person_as_a_whole() -> None:
    shipped = load_policy(None)
    without = parse_policy('version = 1\ndefault_class = "new"\n[classes.new]\n', "p.toml")

    for policy in (shipped, without):
        assert policy.second_person == frozenset(TwoPersonRule)
        assert policy.alone_us == HOUR_US


@pytest.mark.parametrize(
    ("line", "alone_us"), [("", 0), ('alone_for = "0s"', 0), ('alone_for = "90m"', 90 * MINUTE_US)]
)
def test_a_policy_with_rules_of_its_own_leaves_nobody_alone_unless_it_says_so(line: str, alone_us: int) -> None:
    controls = f'[controls]\nsecond_person = ["platform-wide"]\n{line}\n'

    policy = parse_policy(f'version = 1\ndefault_class = "new"\n[classes.new]\n{controls}', "p.toml")

    assert policy.second_person == frozenset((TwoPersonRule.PLATFORM_WIDE,))
    assert policy.alone_us == alone_us


@pytest.mark.parametrize(("scope", "exempt"), [(Scope(), NOBODY), (NEW, VERIFIED), (Scope(), VERIFIED)])
async def test_one_person_stops_the_platform_at_once_for_an_hour_and_a_second_lets_it_last(
    site: Site, scope: Scope, exempt: Exemption
) -> None:
    alone = await site.pause(scope, 4 * HOUR_US, exempt)
    site.at_us += 50 * MINUTE_US
    in_force = (await site.store.read()).active(site.at_us)
    with pytest.raises(NotPermitted):
        await site.as_("ann@a").approve(alone.id, "bob")
    with pytest.raises(ControlRefused, match=r"needs a second person; one person may let it last 1h\."):
        await site.as_("ann@a").extend(alone.id, "ann", HOUR_US)

    approved = await site.as_("bob@b").approve(alone.id, "bob")

    assert in_force == [alone]
    assert alone.expires_at_us == NOON_US + HOUR_US
    assert (approved.expires_at_us, approved.approver, approved.proposal) == (NOON_US + 4 * HOUR_US, "bob", None)
    assert [(entry.act, entry.outcome.value) for entry in site.entries] == [
        ("pause", "done"), ("approve", "refused"), ("extend", "refused"), ("approve", "done"),
    ]  # fmt: skip


async def test_what_one_person_may_set_alone_waits_for_nobody(site: Site) -> None:
    for scope, for_us in ((NEW, 24 * HOUR_US), (Scope(), HOUR_US)):
        pause = await site.pause(scope, for_us)
        assert (pause.proposal, pause.expires_at_us) == (None, NOON_US + for_us)
    with pytest.raises(ControlRefused, match="lasts over 24h"):
        await site.pause(Scope(), 25 * HOUR_US)
    with pytest.raises(ControlRefused, match=r"one person may set 24h needs a second person\. Repeat"):
        await site.pause(NEW, 25 * HOUR_US)


async def test_the_emergency_right_sets_all_of_it_at_once_and_proposing_sets_none_of_it(site: Site) -> None:
    urgent = await site.as_("ann@a", emergency="nobody awake").pause(
        Scope(), Action.STOP, "raid", "", "ann", 4 * HOUR_US
    )
    proposed = await site.as_("ann@a", propose=True).pause(Scope(), Action.STOP, "raid", "", "ann", 4 * HOUR_US)

    assert (urgent.expires_at_us, urgent.emergency, urgent.proposal) == (NOON_US + 4 * HOUR_US, "nobody awake", None)
    assert proposed.awaits_approval
    assert site.entries[0].emergency == "nobody awake"


async def test_the_one_who_set_a_pause_takes_it_back_within_the_hour_under_any_name(site: Site) -> None:
    pause = await site.pause()
    site.at_us += HOUR_US

    released = await site.as_("ann@a").release(pause.id, "on-call")

    assert (released.released_by, released.proposal) == ("on-call", None)


@pytest.mark.parametrize(
    ("login", "by", "later_us"), [("ann@a", "ann", HOUR_US + 1), ("bob@b", "bob", 0), ("bob@b", "ann", 0)]
)
async def test_a_later_release_and_one_of_anothers_pause_need_a_second_person_or_an_emergency(
    site: Site, login: str, by: str, later_us: int
) -> None:
    pause = await site.pause()
    site.at_us += later_us

    with pytest.raises(ControlRefused) as refused:
        await site.as_(login).release(pause.id, by)
    proposed = await site.as_(login, propose=True).release(pause.id, by)
    still = (await site.store.read()).active(site.at_us)
    approved = await site.as_("cid@c").approve(pause.id, "cid")

    assert "only the one who set it may release it, within 1h of its start" in str(refused.value)
    assert all(flag in str(refused.value) for flag in ("--propose", "--emergency WHY", "`approve`"))
    assert still == [proposed]
    assert (approved.released_at_us, approved.approver) == (site.at_us, "cid")
    assert site.entries[-1].approver == "cid"


async def test_the_emergency_right_releases_anothers_pause_with_its_reason(site: Site) -> None:
    pause = await site.pause()

    released = await site.as_("bob@b", emergency="ann is asleep").release(pause.id, "bob")

    assert (released.released_at_us, released.emergency) == (NOON_US, "ann is asleep")


async def test_the_owner_is_the_second_person_of_a_release_that_another_login_proposes(site: Site) -> None:
    pause = await site.pause()
    await site.as_("bob@b", propose=True).release(pause.id, "bob")

    released = await site.as_("ann@a").approve(pause.id, "ann")

    assert (released.released_by, released.approver) == ("bob", "ann")


async def test_a_person_who_extends_what_another_has_proposed_is_asked_to_approve_it(site: Site) -> None:
    pause = await site.pause(Scope())

    with pytest.raises(
        ControlRefused, match=rf"`approve {pause.id}` what ann has proposed, or repeat it with --emergency"
    ):
        await site.as_("bob@b").extend(pause.id, "bob", 3 * HOUR_US)
    with pytest.raises(ControlRefused, match="Repeat it with --propose and let them `approve` it, or repeat it with"):
        await site.as_("ann@a").extend(pause.id, "bob", 3 * HOUR_US)


async def test_a_dry_run_that_one_person_may_not_enforce_has_a_way_to_stop_uploads_at_once(site: Site) -> None:
    details = Details(mode=PauseMode.DRY_RUN)
    counting = await site.as_("ann@a").pause(Scope(), Action.STOP, "raid", "", "ann", 4 * HOUR_US, details)
    short = await site.as_("ann@a").pause(Scope(), Action.STOP, "raid", "", "ann", HOUR_US, details)

    with pytest.raises(
        ControlRefused, match="with `pause`, which is in force at once, for 1h before anybody approves it"
    ):
        await site.as_("ann@a").extend(counting.id, "ann", 0, enforce=True)
    enforced = await site.as_("ann@a").extend(short.id, "ann", 0, enforce=True)

    assert enforced.active(site.at_us)


async def test_a_dry_run_and_a_machines_lease_are_released_by_anybody(site: Site) -> None:
    counting = await site.as_("ann@a").pause(
        Scope(), Action.STOP, "raid", "", "ann", 4 * HOUR_US, Details(mode=PauseMode.DRY_RUN)
    )
    lease = await site.as_("m@m").pause(NEW, Action.STOP, "raid", "", "alarm", MINUTE_US, Details(machine=True))

    for pause in (counting, lease):
        assert (await site.as_("bob@b").release(pause.id, "bob")).released_by == "bob"


async def test_an_unapproved_rest_never_brings_the_pause_back_after_its_hour_or_its_release(site: Site) -> None:
    first, second = await site.pause(Scope()), await site.pause(Scope())
    await site.as_("ann@a").release(first.id, "ann", ramp_us=0)
    site.at_us += HOUR_US

    for pause in (first, second):
        with pytest.raises(Exception, match=r"released already|expired already"):
            await site.as_("bob@b").approve(pause.id, "bob")
    assert (await site.store.read()).active(site.at_us) == []


@pytest.mark.parametrize(
    ("for_us", "more", "expected"),
    [
        (4 * HOUR_US, {}, True),
        (HOUR_US, {}, False),
        (4 * HOUR_US, {"propose": True}, False),
        (4 * HOUR_US, {"emergency": "x"}, False),
    ],
)
def test_what_needs_a_second_person_is_said_before_it_is_set(
    for_us: int, more: dict[str, object], expected: bool
) -> None:
    authority = replace(Authority(frozenset(TwoPersonRule), alone_us=HOUR_US), **more)  # type: ignore[arg-type]

    lines = first_alone((Scope(), Action.STOP, "raid", "", "ann", for_us), Details(), authority)

    assert bool(lines) is expected
    for line in lines:
        assert "is platform-wide needs a second person after 1h: it is in force at once, and lasts 4h once" in line


async def test_when_a_pause_ends_for_want_of_an_approval_is_known(site: Site) -> None:
    plain, first, second = await site.pause(), await site.pause(Scope()), await site.pause(Scope())
    board = await site.store.read()
    await site.as_("bob@b").approve(first.id, "bob")
    await site.as_("bob@b", propose=True).release(plain.id, "bob")
    approved = await site.store.read()
    await site.as_("bob@b").approve(second.id, "bob")

    assert unapproved_end_us(board.active(NOON_US)) == first.expires_at_us == NOON_US + HOUR_US
    assert unapproved_end_us(approved.active(NOON_US)) == second.expires_at_us
    assert unapproved_end_us((await site.store.read()).active(NOON_US)) == 0


async def test_the_rest_that_waits_is_a_proposal_to_extend_by_the_login_that_set_it(site: Site) -> None:
    pause = await site.pause(Scope())

    proposal = pause.proposal
    assert proposal is not None
    assert (proposal.change, proposal.by, proposal.identity) == (PauseChange.EXTEND, "ann", "ann@a")
    assert pause.identity == "ann@a"


def held(board: Board, now_us: int) -> bool:
    """Whether an upload of class new is held."""
    upload = CheckRequest("u-1", Account("a-1", "new"), Media("image"))
    return strictest(index_of(board.pauses.values(), now_us), upload, "new", now_us) is not None


@pytest.mark.parametrize("ramp_us", [None, 10 * MINUTE_US])
async def test_a_proposed_pause_that_is_withdrawn_never_holds_anybody(site: Site, ramp_us: int | None) -> None:
    waits = await site.as_("ann@a", propose=True).pause(Scope(), Action.STOP, "raid", "", "ann", 4 * HOUR_US)
    site.at_us += 30 * MINUTE_US

    withdrawn = await site.as_("bob@b").release(waits.id, "bob", ramp_us=ramp_us)

    assert not held(await site.store.read(), site.at_us + 1)
    assert (withdrawn.ramp_us, withdrawn.ramping(site.at_us + 1)) == (0, False)


async def test_a_pause_that_is_released_before_its_start_lets_no_account_back(site: Site) -> None:
    later = await site.as_("ann@a").pause(
        NEW, Action.STOP, "raid", "", "ann", 4 * HOUR_US, Details(starts_in_us=HOUR_US)
    )

    ended = await site.as_("ann@a").release(later.id, "ann", ramp_us=10 * MINUTE_US)

    assert not held(await site.store.read(), site.at_us + 1)
    assert (ended.ramp_us, ended.ramping(site.at_us + 1)) == (0, False)
    assert not replace(ended, ramp_us=10 * MINUTE_US).ramping(site.at_us + 1)


async def test_a_pause_that_only_counted_lets_no_account_back(site: Site) -> None:
    counts = Details(mode=PauseMode.DRY_RUN)
    first, second = [await site.as_("ann@a").pause(NEW, Action.STOP, "raid", "", "ann", HOUR_US, counts) for _ in "ab"]

    ended = await site.as_("ann@a").release(first.id, "ann", ramp_us=10 * MINUTE_US)

    assert ended.ramp_us == 0
    assert not second.ramping(second.expires_at_us)


async def test_uploads_that_began_while_a_pause_only_counted_may_end_once_it_is_enforced(site: Site) -> None:
    counts = Details(mode=PauseMode.DRY_RUN)
    counting = await site.as_("ann@a").pause(NEW, Action.STOP, "raid", "", "ann", 4 * HOUR_US, counts)
    site.at_us += HOUR_US

    enforced = await site.as_("ann@a").extend(counting.id, "ann", 0, enforce=True)

    assert (enforced.begins_at_us, enforced.expires_at_us) == (site.at_us, NOON_US + 4 * HOUR_US)
    assert (await site.as_("ann@a").release(counting.id, "ann")).ramp_us == 0


async def test_whoever_enforces_what_only_counted_takes_it_back_alone_and_nobody_else(site: Site) -> None:
    counts = Details(mode=PauseMode.DRY_RUN)
    counting = await site.as_("ann@a").pause(NEW, Action.STOP, "raid", "", "ann", 4 * HOUR_US, counts)
    await site.as_("bob@b").extend(counting.id, "bob", 0, enforce=True)

    with pytest.raises(ControlRefused, match="only the one who set it may release it"):
        await site.as_("ann@a").release(counting.id, "ann")
    released = await site.as_("bob@b").release(counting.id, "bob")

    assert released.released_by == "bob"


async def test_the_record_of_a_change_that_nobody_approved_names_no_approver(site: Site) -> None:
    pause = await site.pause(Scope())
    await site.as_("bob@b").approve(pause.id, "bob")

    await site.as_("ann@a").release(pause.id, "ann")

    assert [(entry.act, entry.approver) for entry in site.entries[1:]] == [("approve", "bob"), ("release", None)]


async def test_who_proposes_waits_for_a_second_person_also_within_the_hour(site: Site) -> None:
    pause = await site.pause()

    proposed = await site.as_("ann@a", propose=True).release(pause.id, "ann")
    short = await site.as_("ann@a", propose=True).pause(Scope(), Action.STOP, "raid", "", "ann", 10 * MINUTE_US)

    assert proposed.released_at_us is None
    assert short.awaits_approval


async def test_a_person_takes_over_a_lease_that_a_machine_renewed_for_days(site: Site) -> None:
    lease = await site.as_("m@m").pause(
        NEW, Action.STOP, "raid", "", "alarm", MINUTE_US, Details(machine=True, ramp_us=0)
    )
    renewed = replace(lease, rev=2, set_at_us=site.at_us - 72 * HOUR_US)
    await site.store.replace(1, Board({lease.id: renewed}))

    taken = await site.as_("ann@a").extend(lease.id, "ann", 24 * HOUR_US)

    assert (taken.machine, taken.expires_at_us) == (False, site.at_us + 24 * HOUR_US)
    with pytest.raises(ControlRefused, match="lasts over 24h"):
        await site.as_("ann@a").extend(lease.id, "ann", 25 * HOUR_US)


async def test_what_is_proposed_in_the_place_of_what_a_person_has_seen_is_not_approved(site: Site) -> None:
    pause = await site.pause(Scope())
    seen = pause.proposal
    bob = site.as_("bob@b", propose=True)
    await bob.release(pause.id, "bob")

    with pytest.raises(ControlRefused, match="bob has proposed something else for pause p-1 meanwhile"):
        await site.as_("cid@c").approve(pause.id, "cid", seen)

    assert (await site.store.read()).active(site.at_us) != []
    assert bob.waits
    assert bob.before is not None
    assert bob.before.proposal == seen


async def test_a_proposal_is_told_apart_from_a_change_whatever_the_stores_clock_did(site: Site) -> None:
    pause = await site.pause(NEW, 20 * HOUR_US)
    site.at_us -= HOUR_US

    ann = site.as_("ann@a", propose=True)
    await ann.extend(pause.id, "ann", 30 * HOUR_US)
    waits = ann.waits
    await ann.extend(pause.id, "ann", 22 * HOUR_US)

    assert (waits, ann.waits) == (True, False)


async def test_an_approved_pause_whose_start_has_passed_begins_with_its_approval(site: Site) -> None:
    waits = await site.as_("ann@a", propose=True).pause(
        Scope(), Action.STOP, "raid", "", "ann", 4 * HOUR_US, Details(starts_in_us=HOUR_US)
    )
    site.at_us += 2 * HOUR_US

    approved = await site.as_("bob@b").approve(waits.id, "bob")

    assert (approved.begins_at_us, approved.expires_at_us) == (site.at_us, NOON_US + 5 * HOUR_US)
