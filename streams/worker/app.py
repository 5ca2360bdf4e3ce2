"""Puts the worker together: settings, the Faust app without Faust's own consumer and producer, intake, owners, agents.

Decides nothing about events. `build` has no effect outside the process until the app is started.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from typing import Any, cast

import faust
import faust.app
from prometheus_client import CollectorRegistry

from gate.ports.scores import ScoreStore
from gate.records.topics import Topics
from streams.core.crowd import Crowd
from streams.files.scorecards import load_scorecard
from streams.worker.agents import declare_agents
from streams.worker.commit import Where
from streams.worker.folding import Folding
from streams.worker.intake import Intake
from streams.worker.metrics import WorkerMetrics
from streams.worker.outage import ClientNoise, Outage
from streams.worker.owners import Owners
from streams.worker.settings import WorkerSettings


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
    store: ScoreStore | None,
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
