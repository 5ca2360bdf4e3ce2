"""The commands `dlq …` of `upload-gate`, about events that could not be read.

`letters` shows them, `replay` sends them again, `resume` makes a worker read on in a halted partition. `text` holds the
sentences for people. Modules of `streams.worker` do the work.
"""

from __future__ import annotations

import typer

from streams.cli.dlq.letters import list_dead_letters, show
from streams.cli.dlq.replay import replay_dead_letters
from streams.cli.dlq.resume import resume_partitions

dlq = typer.Typer(
    no_args_is_help=True,
    help="Show events that could not be read, send them again, and resume halted partitions.",
    epilog="Example: upload-gate dlq list --reason json.malformed",
    rich_markup_mode=None,
)
dlq.command(name="list")(list_dead_letters)
dlq.command(name="show")(show)
dlq.command(name="replay")(replay_dead_letters)
dlq.command(name="resume")(resume_partitions)
