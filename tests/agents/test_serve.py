"""What ends a worker's process: a signal, and the crash of any of its services with its cause."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from mode import Service

from streams.worker.app import App
from streams.worker.main import serve
from tests.agents.test_agents import close_idle_loops


class Working(Service):
    """A service that works until it is told to fail."""

    def __init__(self) -> None:
        super().__init__()
        self.fails: Exception | None = None
        self.has_started = asyncio.Event()

    @Service.task
    async def _work(self) -> None:
        self.has_started.set()
        if self.fails is not None:
            raise self.fails
        await self.wait_until_stopped()


class Signals:
    """A service that a signal would end."""

    is_due = False
    end: Callable[[], object] | None = None

    def tell(self, end: Callable[[], object] | None) -> None:
        self.end = end


@pytest.fixture(autouse=True)
def _no_idle_loops() -> Iterator[None]:
    yield
    close_idle_loops()


def app_with(service: Service, tmp_path: Path) -> App:
    app = App("serve", broker="kafka://127.0.0.1:1", datadir=str(tmp_path / "d"), topic_disable_leader=True)
    app.intake = cast(Any, service)
    return app


async def test_a_service_that_crashes_ends_the_worker_with_its_cause(tmp_path: Path) -> None:
    service = Working()
    service.fails = TypeError("a fault of ours")

    with pytest.raises(TypeError, match="a fault of ours"):
        async with asyncio.timeout(10):
            await serve(lambda: app_with(service, tmp_path), Signals())


async def test_a_timer_that_crashes_ends_the_worker_with_its_cause(tmp_path: Path) -> None:
    app = app_with(Working(), tmp_path)

    @app.timer(interval=0.01)
    async def fails() -> None:
        raise LookupError("a fault of the timer")

    with pytest.raises(LookupError, match="a fault of the timer"):
        async with asyncio.timeout(10):
            await serve(lambda: app, Signals())


async def test_a_signal_ends_the_worker_and_removes_its_scratch_files(tmp_path: Path) -> None:
    service, signals = Working(), Signals()
    serving = asyncio.create_task(serve(lambda: app_with(service, tmp_path), signals))
    await service.has_started.wait()
    assert (tmp_path / "d").exists()
    assert signals.end is not None

    signals.end()
    async with asyncio.timeout(10):
        await serving

    assert not (tmp_path / "d").exists()
    assert signals.end is None
