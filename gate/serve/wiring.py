"""Puts one gate together from its settings, runs it until a signal stops it, and takes it apart again.

A gate also starts while Redis or Kafka is away. It then logs once how it works without them.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from gate.app.check import Check
from gate.app.compare_salt import CompareSalt
from gate.app.hear_hot_facts import HearHotFacts
from gate.app.leased_takes import LeasedTakes
from gate.app.settle import Reports
from gate.app.watch import Watch
from gate.core.pseudonym import Pseudonyms, salt_mark
from gate.errors import SettingInvalid
from gate.extras import install_extra
from gate.metrics import Counts
from gate.policyfile import PolicyFile, load_policy_file
from gate.ports.boards import Acknowledgement
from gate.ports.decisions import DecisionLog
from gate.records.decision import ReservationSigner
from gate.records.topics import Topics
from gate.serve.admin.app import AdminApp
from gate.serve.admin.policy_trials import PolicyTrials
from gate.serve.background import in_background
from gate.serve.clock import SystemClock, SystemUptime
from gate.serve.health import Health
from gate.serve.hot.app import GateApp
from gate.serve.hot.edge_limits import EdgeLimits
from gate.serve.policy_in_force import PolicyInForce
from gate.serve.server import allow_files, listening, serving
from gate.serve.service_tokens import TokensInForce, tokens_of
from gate.settings import DEFAULT_PORTS, PREFIX, Settings, read_settings
from gate.stores.disk.audit_file import AuditFile
from gate.stores.disk.break_glass import BreakGlassFile
from gate.stores.disk.snapshot import BoardSnapshot
from gate.stores.local_buckets import LocalBuckets
from gate.stores.redis.boards import RedisBoardStore
from gate.stores.redis.cluster_reservations import reservation_store
from gate.stores.redis.hot_facts import RedisHotFacts
from gate.stores.redis.takes import RedisTakeStore
from gate.stores.redis.token_leases import RedisTokenLeases

log = logging.getLogger("upload_gate")

GARBAGE_AFTER = 50_000
"""Garbage collection threshold, in new objects. Checks make no cycles, so Python's default of 700 would waste time."""
OTHER_FILES = 512
"""Files and sockets that a gate needs beside its connections for checks."""
KNOWN_NETWORKS = 1 << 14
"""How many IPv6 addresses have their network cached in memory."""


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises OperatorError if it cannot start."""
    import uvloop

    log_to_stderr("" if settings.worker is None else f"worker {settings.worker} ")
    _allow_connections(settings.max_connections)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings))


def run_workers(workers: int, environment: Mapping[str, str]) -> None:
    """Serve with several processes until SIGTERM or SIGINT; `environment` holds the settings. Raises OperatorError."""
    from gate.serve.workers import supervise

    log_to_stderr("")
    name = f"{PREFIX}METRICS_PORT"
    with_metrics = {**environment, name: environment.get(name) or str(DEFAULT_PORTS["metrics"])}
    asyncio.run(supervise(read_settings(with_metrics), workers, with_metrics))


def log_to_stderr(whose: str) -> None:
    """Log to stderr, each line with `whose` in it."""
    line = f"%(asctime)s {whose}%(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format=line)


def _allow_connections(connections: int) -> None:
    wanted = connections + OTHER_FILES
    if 0 <= (permitted := allow_files(wanted)) < wanted:
        log.warning("the system permits %d open files, and %d connections need %d", permitted, connections, wanted)


async def serve(settings: Settings, ready: asyncio.Event | None = None) -> None:
    """Serve until SIGTERM or SIGINT. Sets `ready` once both ports answer."""
    loaded = load_policy_file(settings.policy)
    async with AsyncExitStack() as stack:
        tokens = tokens_of(settings, log.warning)
        ports = [stack.enter_context(listening(*place)) for place in _places(settings)]
        parts = await _put_together(settings, loaded, stack)
        stop = stack.enter_context(_signals(parts.in_force.reload))
        if settings.worker is not None:
            asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _stop_at_end_of, sys.stdin.fileno(), stop)
        stack.push_async_callback(parts.watch.leave)
        _say_start(settings, loaded.policy.hash, parts.down())
        await _start_in_background(settings, stack, parts, tokens)
        limits = EdgeLimits(settings.max_connections, settings.request_timeout_s, parts.counts.reject)
        apps = _apps(settings, parts, tokens)
        servers = [
            await stack.enter_async_context(serving(app, port, limits, settings.tls if app is apps[0] else None))
            for app, port in zip(apps, ports, strict=True)
        ]
        log.info("checks at %s/v1/check, admin at %s", settings.gate, settings.admin)
        # all objects loaded so far live as long as the process, so the collector can ignore them
        gc.collect()
        gc.freeze()
        gc.set_threshold(GARBAGE_AFTER, 20, 50)
        if ready is not None:
            ready.set()
        await _first(stop.wait(), *(server.ended.wait() for server in servers))
        log.info("stopping: answering the requests under way")
    log.info("stopped")


@dataclass(frozen=True, slots=True)
class _Parts:
    """The parts of a gate. `down` says why Redis does not answer, None while it does."""

    clock: SystemClock
    counts: Counts
    names: Pseudonyms
    check: Check
    leased: LeasedTakes
    reports: Reports
    watch: Watch
    in_force: PolicyInForce
    health: Health
    down: Callable[[], str | None]


async def _put_together(settings: Settings, loaded: PolicyFile, stack: AsyncExitStack) -> _Parts:
    """Make the parts of a gate with the board of its last snapshot in force. They close with `stack`."""
    clock, counts = SystemClock(), Counts()
    takes = RedisTakeStore(settings.redis, settings.prefix, loaded.policy.deadline_us / 1e6)
    boards = RedisBoardStore(settings.redis, settings.prefix)
    await takes.open()
    stack.push_async_callback(takes.close)
    await boards.open()
    stack.push_async_callback(boards.close)
    decisions, dropped = await _decision_log(settings, stack, counts)
    names = Pseudonyms(settings.salt, lru_cache(maxsize=KNOWN_NETWORKS))
    reservations = reservation_store(settings.redis, settings.prefix)
    stack.push_async_callback(reservations.close)
    token_leases = RedisTokenLeases(settings.redis, settings.prefix)
    stack.push_async_callback(token_leases.close)
    leased = LeasedTakes(takes, token_leases, counts, lambda: check.instances, lambda: time.monotonic_ns() // 1000)
    stack.push_async_callback(leased.give_all_back)
    reports = Reports(reservations, counts, leases=leased)
    stack.push_async_callback(reports.stop)
    check = Check(
        loaded.policy, leased, clock, names, counts, time.perf_counter_ns, LocalBuckets, decisions,
        reports=reports, first_attempt=secrets.randbits(32), leases=leased,
    )  # fmt: skip
    said = Acknowledgement(
        settings.name, settings.metrics, 0, 0, boot=secrets.token_hex(4), salt=salt_mark(settings.salt)
    )
    snapshot, break_glass = BoardSnapshot(settings.board_snapshot), BreakGlassFile(settings.break_glass)
    watch = Watch(
        check, boards, clock, said, snapshot, break_glass, log.warning, draw=random.random, uptime=SystemUptime()
    )  # fmt: skip
    if not stack.enter_context(snapshot.claimed()):
        log.warning(
            "another gate writes %s too: give each gate a --state directory of its own, or run one with --workers N",
            snapshot.path,
        )
    watch.start_from_disk()
    in_force = PolicyInForce(
        settings.policy, loaded, check, log.warning, lambda policy: takes.answer_within(policy.deadline_us / 1e6)
    )
    health = Health(check, watch, clock, dropped, lambda: takes.down, in_force)
    health.lease_held = leased.held
    return _Parts(clock, counts, names, check, leased, reports, watch, in_force, health, lambda: takes.down)


async def _start_in_background(settings: Settings, stack: AsyncExitStack, parts: _Parts, tokens: TokensInForce) -> None:
    """Start what runs beside the checks, and read the board once, so that no check is decided without it."""
    watch = parts.watch
    await stack.enter_async_context(in_background(parts.leased.run, "leases"))
    await stack.enter_async_context(in_background(parts.reports.run, "give back"))
    await stack.enter_async_context(in_background(watch.run, "board watch"))
    await _follow_controls(settings, stack, watch, parts.counts, parts.health)
    await stack.enter_async_context(in_background(parts.in_force.watch, "policy file"))
    await stack.enter_async_context(in_background(tokens.watch, "service tokens"))
    await _hear_hot_facts(settings, stack, HearHotFacts(parts.check.hot, parts.clock))
    comparing = CompareSalt(salt_mark(settings.salt), parts.check.hot, log.warning)
    parts.health.salt_differs = lambda: comparing.differs
    await stack.enter_async_context(in_background(comparing.run, "salt"))


def _apps(settings: Settings, parts: _Parts, tokens: TokensInForce) -> list[GateApp | AdminApp]:
    """The app of each port, in the order of `_places`."""
    check, health, clock = parts.check, parts.health, parts.clock
    pages, signer = settings.metrics_port is None, ReservationSigner(settings.salt)
    apps: list[GateApp | AdminApp] = [
        GateApp(check, health, clock, random.random, tokens.check, pages=pages, reports=parts.reports, signer=signer),
        AdminApp(health, PolicyTrials(check, parts.names, clock, LocalBuckets), tokens.admin),
    ]
    if settings.metrics_port is not None:
        apps.append(GateApp(check, health, clock, random.random, checks=False))
    return apps


async def _follow_controls(
    settings: Settings, stack: AsyncExitStack, watch: Watch, counts: Counts, health: Health
) -> None:
    """Follow the kill switch in Kafka too, where there is Kafka, and send the host's audit log there.

    Returns once the first board has arrived, or a gate without a snapshot has waited long enough for it.
    """
    if settings.kafka is not None:
        await _follow_kafka(settings, settings.kafka, stack, watch, counts, health)
    await watch.first_read()


async def _follow_kafka(
    settings: Settings, kafka: str, stack: AsyncExitStack, watch: Watch, counts: Counts, health: Health
) -> None:
    from gate.app.follow_controls import FollowControls
    from gate.stores.kafka.audit import send_audit
    from gate.stores.kafka.boards import KafkaBoardStore
    from gate.stores.kafka.connection import connection

    def fault() -> None:
        counts.faults["watch"] += 1

    connection(kafka)  # a file that cannot be read is said at the start
    topics = Topics(settings.topic_prefix)
    store = await stack.enter_async_context(
        KafkaBoardStore(kafka, topics.pauses.name, acknowledgements=topics.acknowledgements.name)
    )
    following = FollowControls(watch, store, log.warning, random.random, fault)
    stack.push_async_callback(following.leave)
    health.follow(following.age_s)
    await stack.enter_async_context(in_background(following.run, "controls in Kafka"))
    if settings.worker not in (None, 1):
        return  # one process of a host sends its log
    spool = AuditFile(settings.state, settings.name, SystemClock().now_us, log.warning)
    sending = partial(send_audit, spool, kafka, topics.audit.name, log.warning)
    await stack.enter_async_context(in_background(sending, "audit log to Kafka"))


def _places(settings: Settings) -> list[tuple[str, int, str, bool]]:
    """Host, port, variable and whether it is shared of each port to listen on, in the order of the apps."""
    places = [
        (settings.host, settings.port, "UPLOAD_GATE_PORT", settings.worker is not None),
        (settings.admin_host, settings.admin_port, "UPLOAD_GATE_ADMIN_PORT", False),
    ]
    if settings.metrics_port is not None:
        places.append((settings.metrics_host, settings.metrics_port, "UPLOAD_GATE_METRICS_PORT", False))
    return places


async def _hear_hot_facts(settings: Settings, stack: AsyncExitStack, heard: HearHotFacts) -> None:
    """Follow the hot facts, in Redis and, where there is Kafka, in its topic as well; either alone is enough."""
    redis = RedisHotFacts(settings.redis, settings.prefix)
    stack.push_async_callback(redis.close)
    await stack.enter_async_context(in_background(partial(redis.follow, heard.hear), "hot facts in Redis"))
    if settings.kafka is not None:
        from gate.stores.kafka.hot_facts import follow_hot_facts

        topic = Topics(settings.topic_prefix).hot.name
        following = partial(follow_hot_facts, settings.kafka, topic, heard.hear)
        await stack.enter_async_context(in_background(following, "hot facts in Kafka"))


@contextmanager
def _signals(reload: Callable[[], None]) -> Iterator[asyncio.Event]:
    """An event that SIGTERM and SIGINT set. SIGHUP calls `reload`."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    calls = {signal.SIGTERM: stop.set, signal.SIGINT: stop.set, signal.SIGHUP: reload}
    for number, call in calls.items():
        loop.add_signal_handler(number, call)
    try:
        yield stop
    finally:
        for number in calls:
            loop.remove_signal_handler(number)


def _stop_at_end_of(pipe: int, stop: asyncio.Event) -> None:
    """Stop when `pipe` ends: the supervisor that holds its other end has died."""
    if not os.read(pipe, 1):
        asyncio.get_running_loop().remove_reader(pipe)
        stop.set()


async def _first(*waits: Any) -> None:
    """Return once any of `waits` has ended."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _decision_log(
    settings: Settings, stack: AsyncExitStack, counts: Counts
) -> tuple[DecisionLog | None, Callable[[], int]]:
    """The decision log, and a function for the number of dropped decisions. Without Kafka it imports no client."""
    if settings.kafka is None:
        return None, lambda: 0
    try:
        from gate.stores.kafka.decisions import KafkaDecisionLog
    except ModuleNotFoundError as error:
        raise SettingInvalid(
            f"UPLOAD_GATE_KAFKA is set, but the Kafka client is not installed ({error.name} is missing)",
            f"{install_extra('kafka')}, or start the gate without Kafka",
        ) from error

    def fault() -> None:
        counts.faults["decision_log"] += 1

    topic = Topics(settings.topic_prefix).decisions.name
    decisions = KafkaDecisionLog(settings.kafka, topic, fault=fault)
    await decisions.start()
    stack.push_async_callback(decisions.stop)
    return decisions, lambda: decisions.stats.dropped


def _say_start(settings: Settings, policy: str, down: str | None) -> None:
    log.info("policy %s is in force, from %s", policy, settings.policy or "the package")
    if settings.salt_is_default:
        log.warning("UPLOAD_GATE_SALT is not set: hashes of addresses can be reversed; set one secret for all gates")
    if down is not None:
        log.warning(
            "Redis at %s does not answer (%s). Pauses from the last snapshot and the break-glass file hold, limits "
            "follow their on_store_error, scores and overrides are not known; it is tried again until it answers",
            settings.redis_shown,
            down,
        )
