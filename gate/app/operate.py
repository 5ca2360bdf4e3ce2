"""The acts of the kill switch: set a pause, extend, approve or release one, and wait until every live gate obeys.

Decides ids, revisions and times, and what a single person or a machine may do. All times are by the store's clock:
neither the operator's clock nor a gate's moves a pause. Callers decide about confirmation and output; the port stores
the board, and every change goes to the audit log, done or refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace

from gate.app.board_writer import CAUGHT_UP_WITHIN_S, BoardWriter
from gate.app.both_channels import BothChannels, KnownBoard
from gate.app.converge import HEARD_WITHIN_US, SILENT_WITHIN_US, Convergence, converged
from gate.app.pause_changes import begun, carried_out, released, running
from gate.app.permission import Authority, check_approver, permitted
from gate.core.duration import duration_text, left_text
from gate.core.pause.board import Board
from gate.core.pause.entry import Pause, PauseChange, Proposal
from gate.core.pause.ramp import default_ramp_us, sticky_salt
from gate.core.pause.scope import NOBODY, Action, Exemption, InFlight, PauseMode, Scope
from gate.core.pause.wording import effect_of, narrowing
from gate.errors import ControlRefused, NotPermitted, OperatorError, StoreUnavailable, UploadGateError
from gate.ports.audit import AuditEntry, AuditLog, AuditOutcome
from gate.ports.boards import Acknowledgement, BoardStore, Gates

DRILL_PASSED = "drill_passed"
"""The field of a released pause that says that it was a drill and all gates obeyed it."""


@dataclass(frozen=True, slots=True)
class Details:
    """The optional parts of a new pause. `starts_in_us` from now, None at once; a `ramp_us` of None follows its length."""

    factor: float = 0.0
    percent: int = 100
    exempt: Exemption = NOBODY
    mode: PauseMode = PauseMode.ENFORCE
    in_flight: InFlight = InFlight.DRAIN
    ramp_us: int | None = None
    incident: str = ""
    public: str = ""
    public_link: str = ""
    starts_in_us: int | None = None
    machine: bool = False


def wanted_pause(scope: Scope, action: Action, reason: str, length: str, details: Details) -> str:
    """A pause in words, for the record of an attempt to set it that was refused or failed."""
    effect = effect_of(action, details.factor, details.mode)
    return ", ".join(
        [f"{effect} {scope}", *narrowing(details.percent, details.exempt), f"for {length}", f"reason {reason}"]
    )


@dataclass(frozen=True, slots=True)
class Way:
    """The way that changes take, for the audit log."""

    via: str = "redis"
    direct: bool = False


@dataclass(slots=True)
class _Trail:
    """A change as it is known while it is made, for the audit log."""

    wanted: str = ""
    before: Pause | None = None
    after: Pause | None = None


class Operate:
    """The acts on one board. `new_id` returns pause ids that were never used before; `status` is named in messages.

    A change of a pause waits `caught_up_within_s` for a gate to write back what the store has lost, and then reads
    `gate_at_hand`.
    """

    def __init__(
        self,
        store: BoardStore,
        new_id: Callable[[], str],
        status: str = "`upload-gate status`",
        authority: Authority | None = None,
        audit: AuditLog | None = None,
        way: Way | None = None,
        caught_up_within_s: float = CAUGHT_UP_WITHIN_S,
        channels: BothChannels | None = None,
        gate_at_hand: Callable[[], Awaitable[Board]] | None = None,
    ) -> None:
        self._store = store
        self._new_id = new_id
        self._writer = BoardWriter(store, status, caught_up_within_s, gate_at_hand)
        self._authority = Authority() if authority is None else authority
        self._audit = audit
        self._way = Way() if way is None else way
        self._channels = BothChannels() if channels is None else channels
        self.unread: tuple[str, ...] = ()
        """A sentence for each channel that could not be read when a change was made or the board was read."""
        self.waits = False
        """True if the last change was written as a proposal, which waits for a second person."""
        self.before: Pause | None = None
        """The pause before the last change."""

    async def pause(
        self,
        scope: Scope,
        action: Action,
        reason: str,
        text: str,
        owner: str,
        for_us: int,
        details: Details | None = None,
    ) -> Pause:
        """Set a pause that each gate obeys on receipt, or from its start, until `for_us` µs later by the store's clock.

        Raises ControlRefused if it needs a second person and is not proposed, NotPermitted if a machine may not set it,
        OperatorError if it has no length, and what `BoardWriter.write` raises.
        """
        more = Details() if details is None else details
        if for_us <= 0:
            raise OperatorError("a pause needs a length", "give one, such as 10m or 4h")
        id_ = self._new_id()

        async def act(trail: _Trail) -> Pause:
            now_us = await self._store.now_us()
            starts_us = None if more.starts_in_us is None else now_us + more.starts_in_us
            expires_us = (now_us if starts_us is None else starts_us) + for_us
            ramp_us = default_ramp_us(for_us) if more.ramp_us is None else more.ramp_us
            wanted = Pause(
                id_, 1, scope, action, reason, text, owner, starts_us, expires_us, set_at_us=now_us,
                factor=more.factor, percent=more.percent, exempt=more.exempt, mode=more.mode, in_flight=more.in_flight,
                ramp_us=ramp_us, machine=more.machine, incident=more.incident, public=more.public,
                public_link=more.public_link, identity=self._authority.identity,
            )  # fmt: skip
            wanted = permitted(self._authority, PauseChange.SET, wanted, None, owner, more.machine, now_us)

            def new(board: Board, rev: int) -> Pause:
                return replace(wanted, rev=rev, salt=sticky_salt(wanted, board.pauses.values()))

            return await self._written(trail, id_, new, now_us, is_new=True)

        wish = wanted_pause(scope, action, reason, duration_text(for_us), more)
        return await self._audited("pause", owner, id_, more.machine, act, wish)

    async def release(self, id_: str, by: str, *, ramp_us: int | None = None, machine: bool = False) -> Pause:
        """End the pause `id_` now and return its next revision.

        Its uploads come back over `ramp_us`; None: over a tenth of the time that it was in force (`default_ramp_us`).
        Raises OperatorError if there is no such pause or it has ended already, else as `pause` does.
        """

        async def act(trail: _Trail) -> Pause:
            now_us = await self._store.now_us()

            def end(board: Board, rev: int) -> Pause:
                trail.before = board.pauses.get(id_)
                pause = running(board, id_, now_us)
                ended = replace(released(pause, by, now_us, ramp_us, machine), rev=rev)
                if pause.awaits_approval and not machine:
                    return ended
                return permitted(self._authority, PauseChange.RELEASE, ended, pause, by, machine, now_us)

            return await self._written(trail, id_, end, now_us)

        return await self._audited("release", by, id_, machine, act)

    async def extend(self, id_: str, by: str, for_us: int, *, machine: bool = False, enforce: bool = False) -> Pause:
        """Let the pause `id_` last until `for_us` µs from now, and enforce it if it only counted.

        A person who extends a machine's pause takes it over: it is then theirs, and no lease.
        Raises ControlRefused if that is earlier than its end (a release ends a pause early), else as `release` does.
        """

        async def act(trail: _Trail) -> Pause:
            now_us = await self._store.now_us()

            def later(board: Board, rev: int) -> Pause:
                trail.before = board.pauses.get(id_)
                pause = running(board, id_, now_us)
                if pause.awaits_approval:
                    raise ControlRefused(
                        f"pause {id_} waits for a second person, who approves it as it is",
                        "release it and propose another",
                    )
                expires_us = now_us + for_us
                if expires_us < pause.expires_at_us and not (enforce and for_us == 0):
                    left = left_text(pause.expires_at_us - now_us)
                    raise ControlRefused(f"pause {id_} already lasts {left} more", f"to end it earlier, release {id_}")
                mode = PauseMode.ENFORCE if enforce else pause.mode
                takes_over = pause.machine and not machine
                # the person who enforces or takes over a pause becomes its owner, who may release it alone
                is_set_now = takes_over or mode is not pause.mode
                longer = replace(
                    pause, rev=rev, expires_at_us=max(expires_us, pause.expires_at_us), mode=mode,
                    machine=pause.machine and machine, owner=by if takes_over else pause.owner,
                    identity=self._authority.identity if is_set_now else pause.identity,
                )  # fmt: skip
                if mode is not pause.mode:
                    longer = begun(longer, now_us)
                # rules that a dry run or a lease was exempt from apply as to a new pause
                change = PauseChange.SET if is_set_now else PauseChange.EXTEND
                return permitted(self._authority, change, longer, pause, by, machine, now_us)

            return await self._written(trail, id_, later, now_us)

        return await self._audited("extend", by, id_, machine, act)

    async def approve(self, id_: str, by: str, shown: Proposal | None = None) -> Pause:
        """Bring the proposal that pause `id_` waits with into force. `shown` is the one that the person has seen, if any.

        Raises NotPermitted for the person who proposed it, OperatorError if nothing waits, ControlRefused if another
        proposal than `shown` waits, and what `release` raises.
        """

        async def act(trail: _Trail) -> Pause:
            now_us = await self._store.now_us()

            def approved(board: Board, rev: int) -> Pause:
                trail.before = board.pauses.get(id_)
                pause = running(board, id_, now_us)
                proposal = pause.proposal
                if proposal is None:
                    raise OperatorError(f"nothing about pause {id_} waits for an approval", "see it with `status`")
                if shown is not None and proposal != shown:
                    raise ControlRefused(
                        f"{proposal.by} has proposed something else for pause {id_} meanwhile; nothing was approved",
                        f"look at it with `status`, and repeat `approve {id_}`",
                    )
                check_approver(pause, proposal, by, self._authority)
                emergency = self._authority.emergency or pause.emergency
                return replace(
                    carried_out(pause, proposal, now_us), rev=rev, approver=by, proposal=None, emergency=emergency
                )  # fmt: skip

            return await self._written(trail, id_, approved, now_us)

        return await self._audited("approve", by, id_, False, act)

    async def drill_passed(self, id_: str) -> Pause:
        """Note that the released pause `id_` was a drill that passed. Raises OperatorError if there is none, else as `pause`."""

        def passed(board: Board, rev: int) -> Pause:
            pause = board.pauses.get(id_)
            if pause is None or pause.released_at_us is None:
                raise OperatorError(f"there is no released pause {id_}", "run the drill again")
            return replace(pause, rev=rev, extra={**pause.extra, DRILL_PASSED: b"true"})

        return await self._writer.write(id_, passed, await self._store.now_us())

    async def caught_up_board(self) -> Board:
        """The board of both channels, with what gates have learned another way and write back, such as a pause that the
        store lost. Raises what `BoardWriter.caught_up` raises."""
        return await self._writer.caught_up(await self._other_channel())

    async def known_board(self) -> KnownBoard:
        """The board of both channels as they are now. Raises StoreUnavailable, StateUnreadable."""
        return await self._channels.with_board(await self._store.read())

    async def released_meanwhile(self, change: Pause) -> Pause | None:
        """The pause of `change` if somebody else has released it, as far as the store knows. Raises as `board` does.

        Gates copy a release from the other channel within a second or two, so a gate that obeys `change` has brought it.
        """
        found = (await self._store.read()).pauses.get(change.id)
        return found if found is not None and found.released_at_us is not None else None

    async def board(self) -> Board:
        """The stored board. Raises StoreUnavailable, StateUnreadable."""
        return await self._store.read()

    async def now_us(self) -> int:
        """The store's clock in µs since 1970; pauses begin and expire by it. Raises StoreUnavailable."""
        return await self._store.now_us()

    async def gates(self, within_us: int = HEARD_WITHIN_US) -> Gates:
        """The gates that acknowledged in the last `within_us` µs, stopped ones included. Raises StoreUnavailable."""
        return await self._store.gates(within_us)

    async def lapsed_gates(self) -> list[Acknowledgement]:
        """The last process of each gate that was heard of within the hour, but not in the last five minutes, and that did not
        say that it stops. Most are gone for good; one that is cut off from every channel may still decide."""
        gates = await self._store.gates(SILENT_WITHIN_US)
        last: dict[str, Acknowledgement] = {}
        for said in sorted(gates.acknowledgements, key=lambda said: said.acknowledged_at_us):
            last[said.gate] = said
        heard_us = gates.now_us - HEARD_WITHIN_US
        return [said for _, said in sorted(last.items()) if not said.left and said.acknowledged_at_us < heard_us]

    async def forget(self, process: str) -> None:
        """Delete the acknowledgement of a gate process that is gone for good. Raises StoreUnavailable."""
        await self._store.forget(process)

    async def durable(self) -> bool | None:
        """Whether the last change survives the loss of one server of the store; None if there is only one or it is unknown."""
        try:
            return await self._store.durable()
        except StoreUnavailable:
            return None

    async def converged(self, change: Pause, deadline_s: float) -> Convergence:
        """Wait until every live gate obeys `change`, at most `deadline_s` seconds. Raises StoreUnavailable."""
        return await converged(self._store, change, deadline_s)

    async def _written(
        self, trail: _Trail, id_: str, change: Callable[[Board, int], Pause], now_us: int, is_new: bool = False
    ) -> Pause:
        elsewhere = Board() if is_new else await self._other_channel()
        trail.after = await self._writer.write(id_, change, now_us, changes_known=not is_new, elsewhere=elsewhere)
        return trail.after

    async def _other_channel(self) -> Board:
        read = await self._channels.read()
        self.unread = read.unread
        return read.board

    async def _audited(
        self, act: str, by: str, id_: str, machine: bool, change: Callable[[_Trail], Awaitable[Pause]], wanted: str = ""
    ) -> Pause:
        trail = _Trail(wanted)
        try:
            made = await change(trail)
        except UploadGateError as error:
            refused = isinstance(error, OperatorError | ControlRefused | NotPermitted)
            self._record(
                act, by, id_, machine, trail, AuditOutcome.REFUSED if refused else AuditOutcome.FAILED, str(error)
            )
            raise
        except BaseException as error:  # such as Ctrl-C: the write may be under way, and no change goes unrecorded
            said = f"interrupted ({type(error).__name__}); it may have been written"
            self._record(act, by, id_, machine, trail, AuditOutcome.FAILED, said)
            raise
        before = None if trail.before is None else trail.before.proposal
        is_other = made.proposal is not None and made.proposal != before
        # a new pause may be in force, and only its end waits
        self.waits = is_other and (act != "pause" or made.awaits_approval)
        self.before = trail.before
        self._record(act, by, id_, machine, trail, AuditOutcome.PROPOSED if self.waits else AuditOutcome.DONE, "")
        return made

    def _record(
        self, act: str, by: str, id_: str, machine: bool, trail: _Trail, outcome: AuditOutcome, detail: str
    ) -> None:
        if self._audit is None:
            return
        after = trail.after
        self._audit.record(
            AuditEntry(
                act,
                by,
                outcome,
                id_,
                trail.before,
                after,
                detail,
                None if after is None or act != "approve" else after.approver,
                self._authority.emergency,
                machine,
                self._way.via,
                self._way.direct,
                identity=self._authority.identity,
                wanted="" if after is not None else trail.wanted,
            )
        )


def last_drill_us(pauses: Iterable[Pause]) -> int:
    """When the last drill passed, by the store's clock; 0 if the board knows of none."""
    passed = (pause.released_at_us or 0 for pause in pauses if pause.extra.get(DRILL_PASSED) == b"true")
    return max(passed, default=0)
