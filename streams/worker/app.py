"""Puts the worker together as a Faust app without Faust's own consumer and producer.

`faust -A streams.worker.app worker -l info` finds the app as this module's `app`, which is built from the environment
when it is looked up; `python -m streams.worker` builds the same one. Decides nothing about events. `build` has no
effect outside the process until the app is started.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, cast

import faust
import faust.app
from prometheus_client import CollectorRegistry

from gate.core.pseudonym import salt_mark
from gate.records.kafka_address import parse_kafka_address
from gate.records.topics import Topics
from gate.stores.kafka.connection import connection
from gate.stores.redis.scores import RedisScoreStore
from streams.core.crowd import Backfill, Crowd
from streams.core.facts import VERSION
from streams.core.models.alphabet import build_alphabet
from streams.files.model_directory import Models
from streams.files.public_suffixes import load_web_links
from streams.pipeline.effects import Effects
from streams.pipeline.hashes import account_numbers
from streams.pipeline.step import process
from streams.worker.agents import Folding, declare_agents
from streams.worker.assignment import Partitions
from streams.worker.campaign_feed import CampaignFeed
from streams.worker.commit import Where
from streams.worker.controls import Controls
from streams.worker.garbage import few_collections
from streams.worker.hot_facts import hot_fact_publisher
from streams.worker.intake import Intake
from streams.worker.metrics import WorkerMetrics, serve_metrics
from streams.worker.models_in_use import models_line, models_of
from streams.worker.monitor import RebalanceMonitor
from streams.worker.one_cluster import OneCluster
from streams.worker.one_group import OneGroup
from streams.worker.outage import ClientNoise, Outage
from streams.worker.pages import Pages, declare_pages
from streams.worker.settings import LOOPBACK, WorkerSettings, read_worker_settings
from streams.worker.timers import Upkeep, declare_timers

log = logging.getLogger("upload_gate.worker")

Resource = Callable[[], AbstractAsyncContextManager[None]]


class App(faust.App):
    """A Faust app whose only way in is the intake. `resource` is opened before it starts and closed after its end."""

    intake: Intake
    controls: Controls | None = None
    resource: Resource | None = None
    serves_pages = False

    class BootStrategy(faust.app.BootStrategy):
        """Faust's own consumer and producer stay away; agents first, so that somebody listens when the intake starts."""

        enable_kafka = False

        def server(self) -> Iterable[Any]:
            """The services of the worker, in the order they start."""
            app = cast(App, self.app)
            own = [app.intake] if app.controls is None else [app.intake, app.controls]
            services: Iterable[Any] = self._chain(self.sensors(), self.web_server(), self.agents(), own)
            return services

        def web_server(self) -> Iterable[Any]:
            """Pages only where the setting says so, and on loopback alone, whatever Faust's own options say."""
            if not cast(App, self.app).serves_pages:
                return ()
            self.app.conf.web_bind = LOOPBACK
            return [*self.web_components(), self.app.web]

    async def on_first_start(self) -> None:
        """Called by Faust."""
        Path(self.conf.datadir).parent.mkdir(parents=True, exist_ok=True)
        await super().on_first_start()
        if self.resource is not None:
            await self.add_async_context(self.resource())

    async def on_shutdown(self) -> None:
        """Called by Faust."""
        await super().on_shutdown()
        shutil.rmtree(self.conf.datadir, ignore_errors=True)


def build(settings: WorkerSettings, registry: CollectorRegistry, step: Callable[..., Effects] = process) -> App:
    """The app, not started; `step` is what it does with a batch. Raises PolicyInvalid for scorecard and models."""
    metrics = WorkerMetrics(registry)
    kafka = Outage("Kafka", lambda up: metrics.kafka_up.set(int(up)), bootstrap=settings.kafka)
    redis = Outage("Redis", lambda up: metrics.redis_up.set(int(up)))
    quiet_clients(kafka)
    connection(settings.kafka)  # a file that cannot be read is said at the start
    topics = Topics(settings.prefix, settings.partitions)
    where = Where(settings.kafka, topics, settings.group, salt_mark(settings.salt))
    store = None if settings.redis is None else RedisScoreStore(settings.redis, prefix=settings.redis_prefix)
    models = models_of(settings)
    scorecard = models.scorecard
    crowd = Crowd(numbers=account_numbers(settings.salt), clock_us=lambda: time.time_ns() // 1_000)
    alphabet, web = build_alphabet(), load_web_links()
    campaigns = models.campaigns(crowd, alphabet, web)
    backfill = Backfill(
        crowd, passes_over=campaigns.passes_over, is_here=lambda number: partitions.has(number), is_early=campaigns.look
    )
    scoring = f"{scorecard.hash}/{VERSION}/{models.hash}" if models.hash else f"{scorecard.hash}/{VERSION}"
    partitions = Partitions(
        where, store, metrics, kafka, redis, crowd.give_back, scoring, settings.forget_after_us, backfill.waiting,
        backfill.give_back, lambda: crowd.has_heard_stored and campaigns.has_heard_stored, settings.act_within_records,
        lambda accounts: backfill.remember(accounts, list(map(crowd.numbers.of, accounts))),
        campaigns.look,
    )  # fmt: skip
    app = App(
        settings.group,
        broker=f"kafka://{parse_kafka_address(settings.kafka).servers}",
        version=1,
        datadir=str(settings.state_dir / f"faust-{os.getpid()}"),
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        web_bind=LOOPBACK,
        web_port=settings.web_port or None,
    )
    app.resource = lambda: _resources(settings, registry, store, models)
    fetches: Any = app.channel(maxsize=64)
    monitor = RebalanceMonitor(app, metrics)
    cluster = OneCluster(settings.kafka)
    app.intake = Intake(
        partitions, crowd, kafka, monitor, fetches.put, app.flow_control.resume, settings.session_timeout_ms, cluster
    )
    app.controls = Controls(partitions, kafka, lambda: app.intake.consumer is not None)
    app.intake.add_dependency(hot_fact_publisher(settings, where, crowd, scorecard, partitions, kafka))
    app.intake.add_dependency(
        CampaignFeed(where.bootstrap, where.topics.campaigns.name, campaigns, kafka, metrics.show_campaigns)
    )
    folding = Folding(
        scorecard, crowd, settings.salt, settings.drain_unreadable, step=step,
        act_within_records=settings.act_within_records, backfill=backfill,
        captions=models.caption_reader(alphabet), campaigns=campaigns, links=models.link_reader(alphabet, web),
    )  # fmt: skip
    declare_agents(app, fetches, folding.work, settings.partitions, metrics.agents.track_inprogress)
    one_group = OneGroup(store, where.group, where.topics.scores.name, lambda: cluster.known, settings.redis_prefix)
    declare_timers(app, Upkeep(partitions, app.intake, kafka, metrics, monitor, cluster, one_group))
    if settings.web_port:
        app.serves_pages = True
        declare_pages(app, Pages(partitions, crowd, scorecard, campaigns))
    return app


def from_environment() -> App:
    """The app of the settings in the environment, with the commands it adds to Faust's. Raises SettingInvalid."""
    from streams.worker.commands import declare_commands

    settings = read_worker_settings(os.environ)
    app = build(settings, CollectorRegistry())
    declare_commands(app, settings)
    return app


def __getattr__(name: str) -> Any:
    if name == "app":
        return from_environment()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@asynccontextmanager
async def _resources(
    settings: WorkerSettings, registry: CollectorRegistry, store: RedisScoreStore | None, models: Models
) -> AsyncIterator[None]:
    """Opens what a running worker has beside its services: a port for metrics, the account store, few garbage
    collections.
    """
    log.info("worker of group %s starts, Kafka at %s", settings.group, settings.kafka)
    log.info("%s", models_line(models))
    if settings.salt_is_default:
        log.warning(
            "UPLOAD_GATE_SALT is not set: hashes of addresses and devices can be reversed; set one secret for all "
            "workers and gates"
        )
    with few_collections(), _metrics(settings, registry):
        try:
            yield
        finally:
            if store is not None:
                await store.close()


@contextmanager
def _metrics(settings: WorkerSettings, registry: CollectorRegistry) -> Iterator[None]:
    if not settings.metrics_port:
        yield
        return
    with serve_metrics(settings.metrics_host, settings.metrics_port, registry):
        yield


def quiet_clients(kafka: Outage) -> None:
    """Take the Kafka client's log away from the console: what is down is said once, by `kafka`."""
    client = logging.getLogger("aiokafka")
    client.handlers = [ClientNoise(kafka)]
    client.propagate = False
    client.setLevel(logging.WARNING)
