"""Commands that this app adds to Faust's own: `faust -A streams.worker.app dlq`."""

from __future__ import annotations

from typing import Any

import faust
from faust.cli import option

from gate.core.terminal import terminal_safe
from gate.records.topics import Topics
from streams.worker.dead_letters import as_line, instant_of, last_dead_letters
from streams.worker.settings import WorkerSettings


def declare_commands(app: faust.App, settings: WorkerSettings) -> None:
    """Attach the commands to `app`."""

    @app.command(option("--limit", type=int, default=20, help="How many dead letters at most."), name="dlq")
    async def dlq(self: Any, limit: int) -> None:
        """List the last events that could not be read, with their position and the reason."""
        for letter in await last_dead_letters(settings.kafka, Topics(settings.prefix, settings.partitions), limit):
            self.say(terminal_safe(as_line(letter, instant_of(letter.letter.at_ms))))
