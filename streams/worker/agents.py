"""The Faust agents: they take batches from the channel, one after the other, and fold them. Nothing else is here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import faust

from streams.worker.intake import Batch

Work = Callable[..., Awaitable[None]]


def declare_agents(app: faust.App, batches: Any, work: Work, concurrency: int) -> Any:
    """Attach the scoring agent to `app`; `work` never raises, so no batch is lost to a restart of the agent."""

    async def score(stream: faust.StreamT[Batch]) -> None:
        async for owner, messages in stream:
            await work(owner, messages)

    return app.agent(batches, name="score", concurrency=concurrency)(score)
