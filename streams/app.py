"""Puts the worker together: settings, the Faust app without Faust's own consumer and producer, intake, owners, agents.

Decides nothing about events. `build` has no effect outside the process until the app is started.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import faust
import faust.app
from prometheus_client import CollectorRegistry

from gate.errors import SettingInvalid
from gate.ports import AccountStore
from gate.settings import DEFAULT_PORTS, DEFAULT_PREFIX, DEFAULT_SALT
from gate.topics import Topics
from streams.agents import declare_agents
from streams.commit import Where
from streams.core.crowd import Crowd
from streams.folding import Folding
from streams.intake import Intake
from streams.metrics import WorkerMetrics
from streams.outage import ClientNoise, Outage
from streams.owners import Owners
from streams.scorecardfile import load_scorecard

SESSION_TIMEOUT_MS = 6_000
METRICS_PORT = DEFAULT_PORTS["worker"]


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What one worker needs to know. `redis` None writes scores to Kafka only; `scorecard` None is the packaged one.

    `salt` keys the pseudonyms of IPs and devices; it never prints. `metrics_port` 0 serves no metrics.
    """

    kafka: str
    redis: str | None = None
    group: str = "upload-gate"
    prefix: str = ""
    redis_prefix: str = DEFAULT_PREFIX
    scorecard: Path | None = None
    salt: bytes = field(default=DEFAULT_SALT.encode(), repr=False)
    metrics_port: int = METRICS_PORT
    state_dir: Path = Path("state")
    session_timeout_ms: int = SESSION_TIMEOUT_MS
    partitions: int = 4
    drain_unreadable: bool = False

    @property
    def salt_is_default(self) -> bool:
        """True where nobody set a salt, so that pseudonyms can be turned back by trying all addresses."""
        return self.salt == DEFAULT_SALT.encode()


def settings_from(env: Mapping[str, str]) -> WorkerSettings:
    """Settings from `UPLOAD_GATE_…` variables. Raises SettingInvalid, naming the variable."""
    kafka = env.get("UPLOAD_GATE_KAFKA", "")
    if not kafka:
        raise SettingInvalid("UPLOAD_GATE_KAFKA is not set", "Set it to the brokers, as HOST:PORT")
    unreadable = env.get("UPLOAD_GATE_UNREADABLE", "stop")
    if unreadable not in ("stop", "drain"):
        raise SettingInvalid(f"UPLOAD_GATE_UNREADABLE is {unreadable!r}", "Use stop or drain")
    scorecard = env.get("UPLOAD_GATE_SCORECARD")
    return WorkerSettings(
        kafka=kafka,
        redis=env.get("UPLOAD_GATE_REDIS") or None,
        group=env.get("UPLOAD_GATE_GROUP") or "upload-gate",
        prefix=env.get("UPLOAD_GATE_TOPIC_PREFIX", ""),
        redis_prefix=env.get("UPLOAD_GATE_PREFIX") or DEFAULT_PREFIX,
        scorecard=Path(scorecard) if scorecard else None,
        salt=(env.get("UPLOAD_GATE_SALT") or DEFAULT_SALT).encode(),
        metrics_port=_number(env, "UPLOAD_GATE_WORKER_METRICS_PORT", METRICS_PORT, 0, 65_535),
        state_dir=Path(env.get("UPLOAD_GATE_STATE") or "state"),
        session_timeout_ms=_number(env, "UPLOAD_GATE_SESSION_TIMEOUT_MS", SESSION_TIMEOUT_MS, 1_000, 300_000),
        drain_unreadable=unreadable == "drain",
    )


def _number(env: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = env.get(name)
    if not text:
        return default
    if not text.isdecimal() or not low <= int(text) <= high:
        raise SettingInvalid(f"{name} is {text!r}", f"Use a whole number from {low} to {high}")
    return int(text)


class App(faust.App):
    """A Faust app whose only way in is the intake."""

    intake: Intake

    class BootStrategy(faust.app.BootStrategy):
        """Faust's own consumer and producer stay away; agents first, so that somebody listens when the intake starts."""

        enable_kafka = False

        def server(self) -> Iterable[Any]:
            """The services of the worker, in the order they start."""
            services: Iterable[Any] = self._chain(self.sensors(), self.agents(), [cast(App, self.app).intake])
            return services


def build(
    settings: WorkerSettings,
    registry: CollectorRegistry,
    store: AccountStore | None,
    fatal: Callable[[BaseException], None],
) -> App:
    """The app, not started. `fatal` is told of what no trying again cures. Raises PolicyInvalid for the scorecard."""
    metrics = WorkerMetrics(registry)
    kafka = Outage("Kafka", lambda up: metrics.kafka_up.set(int(up)))
    redis = Outage("Redis", lambda up: metrics.redis_up.set(int(up)))
    quiet_clients(kafka)
    where = Where(settings.kafka, Topics(settings.prefix, settings.partitions), settings.group)
    crowd = Crowd()
    owners = Owners(where, store, metrics, kafka, redis, fatal)
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    app = App(
        settings.group,
        broker=f"kafka://{settings.kafka}",
        version=1,
        datadir=str(settings.state_dir / f"faust-{os.getpid()}"),
        topic_allow_declare=False,
        topic_disable_leader=True,
    )
    batches: Any = app.channel(maxsize=64)
    app.intake = Intake(
        owners, crowd, kafka, metrics, batches.put, app.flow_control.resume, settings.session_timeout_ms
    )
    folding = Folding(
        owners,
        load_scorecard(settings.scorecard),
        crowd,
        settings.salt,
        settings.drain_unreadable,
    )
    declare_agents(app, batches, folding.work, concurrency=settings.partitions)
    return app


def quiet_clients(kafka: Outage) -> None:
    """Take the Kafka client's log away from the console: what is down is said once, by `kafka`."""
    client = logging.getLogger("aiokafka")
    client.handlers = [ClientNoise(kafka)]
    client.propagate = False
    client.setLevel(logging.WARNING)
