"""The connections to a Redis Cluster: one `Line` a node, each command to the node that serves its slot.

Commands to several nodes are sent in parallel under one deadline. A command that a node did not carry out, because the slot has
moved or is moving, or because the node is loading or has become a replica, is sent again within the deadline; nothing of it
ran. A node that fails rests until it answers a PING: its commands fail at once meanwhile, and the others go on. So a frozen node
costs one call its deadline, and not one call in every second.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import NoScriptError, ResponseError

from gate.errors import StoreUnavailable, redact
from gate.stores.redis.connections.address import Endpoint, Endpoints
from gate.stores.redis.connections.cluster_map import Redirect, SlotMap, read_slots, redirect_of, slot_of, tags
from gate.stores.redis.connections.line import Line, ReplyLost, Routed, Stats, pack, refused
from gate.stores.redis.connections.script_call import Argument, ScriptCall

FIRST_REST_S: Final = 0.05
LONGEST_REST_S: Final = 1.0
FIRST_PAUSE_S: Final = 0.001
LONGEST_PAUSE_S: Final = 0.05
MAP_WITHIN_S: Final = 0.5
MAP_AFTER_S: Final = 0.002
"""The answers to the call that made a new map necessary go first."""
WAKE_WITHIN_S: Final = 0.5
LATE: Final = "no time was left to call a node: this process was held up"  # which says nothing about the node
_ASKING: Final = pack((b"ASKING",))


class _Node:
    """A server of the Cluster, and until when it rests after a failure."""

    def __init__(self, at: Endpoint, line: Line) -> None:
        self.at = at
        self.line = line
        self.problem = ""
        self.waking: asyncio.Task[None] | None = None
        self._rests_until_s = 0.0
        self._rest_s = FIRST_REST_S

    def rests(self, now_s: float) -> bool:
        """Whether it failed and has not answered since."""
        return self._rests_until_s > now_s or (self.waking is not None and not self.waking.done())

    def failed(self, now_s: float, problem: str) -> None:
        self.problem = problem
        self._rests_until_s = now_s + self._rest_s
        self._rest_s = min(2 * self._rest_s, LONGEST_REST_S)

    def answered(self) -> None:
        self._rests_until_s, self._rest_s = 0.0, FIRST_REST_S

    def wake(self, serves: Callable[[], bool]) -> None:
        """Find out in the background when it answers again, while it `serves`. Until then its connection is in use."""
        if self.waking is None or self.waking.done():
            self.waking = asyncio.create_task(self._until_it_answers(serves))

    async def sleep_on(self) -> None:
        """Stop `wake`."""
        if self.waking is not None:
            self.waking.cancel()
            await asyncio.gather(self.waking, return_exceptions=True)
            self.waking = None

    async def _until_it_answers(self, serves: Callable[[], bool]) -> None:
        clock = asyncio.get_running_loop().time
        while self._rests_until_s and serves():
            await asyncio.sleep(self._rests_until_s - clock())
            try:
                await self.line.connect(WAKE_WITHIN_S)
                await self.line.execute(b"PING", within_s=WAKE_WITHIN_S)
            except StoreUnavailable as error:
                self.failed(clock(), error.problem)
            else:
                self.answered()


@dataclass(slots=True, eq=False)
class _Job:
    """One command on its way. `problem` says why it is not answered; it is final once `is_over`."""

    slot: int
    packed: bytes
    run: ScriptCall | None = None
    asked_at: Endpoint | None = None
    reply: Any = None
    problem: StoreUnavailable | None = None
    is_over: bool = False
    waits: bool = False
    lost: int = 0

    def end(self, reply: Any) -> None:
        self.reply, self.problem, self.is_over = reply, None, True

    def failed(
        self, problem: str | StoreUnavailable, *, ran: bool = False, is_over: bool = False, waits: bool = False
    ) -> None:
        """Note why it is not answered. It may have run if any of its sendings may have."""
        before = self.problem is not None and self.problem.may_have_run
        self.problem = problem if isinstance(problem, StoreUnavailable) else StoreUnavailable(problem)
        self.problem.may_have_run = ran or before
        self.is_over, self.waits = is_over, waits


class ClusterLine:
    """Does for a Cluster what a Line does for one server. It is not for concurrent use; its owner closes it.

    A `patient` one repeats a call to a node that is away until the deadline, as a failover may end meanwhile.
    """

    is_clustered = True

    def __init__(
        self, endpoints: Endpoints, name: str = "upload-gate", stats: Stats | None = None, patient: bool = True
    ) -> None:
        tags()  # now, as making them takes longer than a call may
        self._endpoints = endpoints
        self._name = name
        self._stats = stats if stats is not None else Stats()
        self._patient = patient
        self._nodes: dict[Endpoint, _Node] = {}
        self._map: SlotMap | None = None
        self._moved: dict[int, Endpoint] = {}
        self._loading: asyncio.Task[bool] | None = None
        self._loaded_at_s = 0.0
        self._turn = 0

    @property
    def masters(self) -> tuple[Endpoint, ...]:
        """The masters of the last map."""
        return self._map.masters if self._map is not None else ()

    @property
    def is_down(self) -> bool:
        """Whether every master that is known rests."""
        now_s = asyncio.get_running_loop().time()
        return all(self._node(at).rests(now_s) for at in self.masters)

    def slot_on(self, node: Endpoint) -> int:
        """A slot that the master serves."""
        assert self._map is not None
        return self._map.first_slot(node)

    async def close(self) -> None:
        """Close every connection; the next call opens them again."""
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.gather(self._loading, return_exceptions=True)
            self._loading = None
        for node in self._nodes.values():
            await node.sleep_on()
            await node.line.close()

    async def remap(self, within_s: float) -> None:
        """Find out anew who serves which slot. Raises StoreUnavailable."""
        if not await self._load(within_s):
            raise StoreUnavailable(f"no node of the Redis Cluster at {self._where} answers")

    async def connect(self, within_s: float) -> None:
        """Find out anew who serves which slot, and open the connection to each master that answers. Raises StoreUnavailable."""
        until_s = asyncio.get_running_loop().time() + within_s
        await self.remap(within_s)
        for node in self._nodes.values():
            await node.sleep_on()
        left_s = until_s - asyncio.get_running_loop().time()
        opening = (self._node(at).line.connect(left_s) for at in self.masters)
        await asyncio.gather(*opening, return_exceptions=True)

    async def run(self, runs: Sequence[ScriptCall], within_s: float, *, again: bool = False) -> list[Any]:
        """See Line. The keys of each run share a slot."""
        outcomes = await self.outcomes(runs, asyncio.get_running_loop().time() + within_s, again=again)
        return [_or_raise(outcome) for outcome in outcomes]

    async def outcomes(self, runs: Sequence[ScriptCall], until_s: float, *, again: bool) -> list[Any]:
        """`run` until the loop's time `until_s`, with the error in the place of each reply that did not come."""
        jobs = [_Job(slot_of(_text(run.first_key)), run.packed(known=True), run) for run in runs]
        return await self._deliver(jobs, until_s, again)

    async def pipeline(self, calls: Sequence[Routed], within_s: float) -> list[Any]:
        """See Line."""
        return [_or_raise(outcome) for outcome in await self.replies(calls, within_s)]

    async def replies(self, calls: Sequence[Routed], within_s: float) -> list[Any]:
        """`pipeline`, with the error in the place of each reply that did not come."""
        until_s = asyncio.get_running_loop().time() + within_s
        jobs = [_Job(slot_of(key), pack(command)) for key, command in calls]
        return await self._deliver(jobs, until_s, True)

    async def execute(self, *command: Argument, within_s: float, at: str | None = None) -> Any:
        """See Line. A command without a key goes to the node of the key `at`."""
        key = at if at is not None else _text(command[1]) if len(command) > 1 else ""
        (reply,) = await self.pipeline(((key, command),), within_s)
        return reply

    async def values(self, keys: Sequence[str], within_s: float) -> list[bytes | None]:
        """See Line."""
        by_slot: dict[int, list[int]] = defaultdict(list)
        for n, key in enumerate(keys):
            by_slot[slot_of(key)].append(n)
        calls: list[Routed] = [(keys[some[0]], (b"MGET", *(keys[n] for n in some))) for some in by_slot.values()]
        values: list[bytes | None] = [None] * len(keys)
        for some, reply in zip(by_slot.values(), await self.pipeline(calls, within_s), strict=True):
            for n, value in zip(some, reply, strict=True):
                values[n] = value
        return values

    async def delete(self, keys: Sequence[bytes], within_s: float) -> int:
        """See Line."""
        calls: list[Routed] = [(key, (b"UNLINK", key)) for key in keys]
        return sum(await self.pipeline(calls, within_s))

    async def scan(self, match: str, count: int, within_s: float) -> AsyncIterator[list[bytes]]:
        """See Line. Goes through one master after the other."""
        if self._map is None:
            await self.remap(within_s)
        for master in self.masters:
            await self._node(master).sleep_on()
            async for keys in self._node(master).line.scan(match, count, within_s):
                yield keys

    async def line_at(self, key: str, within_s: float) -> Line:
        """A new connection to the node that serves the key. Its owner closes it."""
        at = None if self._map is None else self._map.node(slot_of(key))
        if at is None or self._node(at).rests(asyncio.get_running_loop().time()):
            await self.remap(within_s)
            at = self._map.node(slot_of(key)) if self._map is not None else None
        if at is None:
            raise StoreUnavailable(f"no node of the Redis Cluster at {self._where} serves {key}")
        return Line(self._endpoints.url(at), self._name, self._stats)

    @property
    def _where(self) -> str:
        return redact(self._endpoints.url(self._endpoints.servers[0]))

    def _node(self, at: Endpoint) -> _Node:
        node = self._nodes.get(at)
        if node is None:
            node = self._nodes[at] = _Node(at, Line(self._endpoints.url(at), self._name, self._stats))
        return node

    async def _deliver(self, jobs: list[_Job], until_s: float, again: bool) -> list[Any]:
        """The replies of all jobs, or their errors. Refusals by the server are errors."""
        clock = asyncio.get_running_loop().time
        pause_s = FIRST_PAUSE_S
        waiting = jobs
        while waiting:
            if self._map is None and not await self._load(until_s - clock()):
                for job in waiting:
                    job.failed(f"no node of the Redis Cluster at {self._where} answers")
                break
            by_node: dict[Endpoint | None, list[_Job]] = defaultdict(list)
            for job in waiting:
                by_node[job.asked_at or self._serving(job.slot)].append(job)
            calls = [self._send(at, some, until_s, again) for at, some in by_node.items()]
            await (asyncio.gather(*calls) if len(calls) > 1 else calls[0])
            waiting = [job for job in waiting if not job.is_over]
            pauses = any(job.waits for job in waiting)
            if waiting and clock() + (pause_s if pauses else 0) >= until_s:
                for job in waiting:
                    job.is_over = True
            elif pauses:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            waiting = [job for job in waiting if not job.is_over]
        return [job.reply if job.problem is None else job.problem for job in jobs]

    def _serving(self, slot: int) -> Endpoint | None:
        assert self._map is not None
        return self._moved.get(slot) or self._map.node(slot)

    async def _send(self, at: Endpoint | None, jobs: list[_Job], until_s: float, again: bool) -> None:
        """Send the jobs to one node. Those that may be repeated are not over afterwards."""
        clock = asyncio.get_running_loop().time
        if at is None:
            self._reload()
        node = None if at is None else self._node(at)
        if (is_late := clock() >= until_s) or node is None or node.rests(clock()):
            not_served = "no node of the Redis Cluster serves the slot" if node is None else node.problem
            for job in jobs:
                job.failed(LATE if is_late else not_served, is_over=is_late or not self._patient, waits=True)
            return
        asking = ((_ASKING, job.packed) if job.asked_at is not None else (job.packed,) for job in jobs)
        packed = [part for parts in asking for part in parts]
        halves = again and node.line.is_open and not any(job.lost for job in jobs)
        try:
            replies = await node.line.call(packed, (clock() + until_s) / 2 if halves else until_s)
        except StoreUnavailable as error:
            self._failed(node, jobs, error, again)
            return
        node.answered()
        taken = iter(replies)
        for job in jobs:
            if job.asked_at is not None:
                next(taken)
            job.asked_at, job.waits = None, False
            self._heard(node, job, next(taken))

    def _failed(self, node: _Node, jobs: list[_Job], error: StoreUnavailable, again: bool) -> None:
        ran = isinstance(error, ReplyLost)
        # a connection that the server closed long ago says nothing about the server
        at_once = ran and again and not any(job.lost for job in jobs)
        if not at_once:
            node.failed(asyncio.get_running_loop().time(), error.problem)
            node.wake(lambda: self._still_serves(node))
            self._reload()
        for job in jobs:
            job.lost += 1
            job.asked_at = None
            is_over = not at_once and (not self._patient or (ran and not again))
            job.failed(error.problem, ran=ran, is_over=is_over, waits=not at_once)

    def _still_serves(self, node: _Node) -> bool:
        """Whether a node that is away is still a master. Another one may have taken its slots since the last map."""
        self._reload()
        return node.at in self.masters

    def _heard(self, node: _Node, job: _Job, reply: Any) -> None:
        if not isinstance(reply, ResponseError):
            job.end(reply)
            return
        job.failed(refused(str(node.at), reply))
        assert job.problem is not None
        job.problem.__cause__ = reply
        if isinstance(reply, NoScriptError) and job.run is not None:
            self._stats.noscript += 1
            job.packed = job.run.packed(known=False)
            return
        redirect = redirect_of(reply, node.at)
        if redirect is None:
            self._stats.errors += 1
            job.is_over = True
            return
        kind, named = redirect
        job.waits = kind in (Redirect.WAIT, Redirect.REMAP)
        if kind is Redirect.ASK:
            job.asked_at = named
        elif kind is Redirect.MOVED and named is not None:
            self._moved[job.slot] = named
            self._reload()
        elif kind is Redirect.REMAP:
            self._moved.pop(job.slot, None)
            self._reload()

    def _reload(self) -> None:
        """Ask for a new map in the background, not more often than once in a rest."""
        now_s = asyncio.get_running_loop().time()
        if (self._loading is None or self._loading.done()) and now_s >= self._loaded_at_s + FIRST_REST_S:
            self._loading = asyncio.create_task(self._load_soon())

    async def _load_soon(self) -> bool:
        await asyncio.sleep(MAP_AFTER_S)
        return await self._load(MAP_WITHIN_S)

    async def _load(self, within_s: float) -> bool:
        """Take the map of the first node that answers. Returns False if none does."""
        loop = asyncio.get_running_loop()
        self._turn += 1
        known = list(dict.fromkeys((*self.masters, *self._endpoints.servers)))
        first = self._turn % len(known)  # another one each time, as one that is cut off has an old map
        calls = [asyncio.create_task(self._slots_of(at, within_s)) for at in (*known[first:], *known[:first])]
        try:
            for call in asyncio.as_completed(calls):
                found = await call
                if found is not None:
                    self._map, self._loaded_at_s = found, loop.time()
                    self._moved.clear()
                    return True
        finally:
            for each in calls:
                each.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
        self._loaded_at_s = loop.time()
        return False

    async def _slots_of(self, at: Endpoint, within_s: float) -> SlotMap | None:
        line = Line(self._endpoints.url(at), self._name)
        try:
            with suppress(StoreUnavailable):
                return read_slots(await line.execute(b"CLUSTER", b"SLOTS", within_s=within_s), at)
            return None
        finally:
            await line.close()


def _or_raise(outcome: Any) -> Any:
    if isinstance(outcome, StoreUnavailable):
        raise outcome
    return outcome


def _text(argument: Argument) -> str | bytes:
    return argument if isinstance(argument, str | bytes) else str(argument)
