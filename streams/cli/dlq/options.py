"""The options that several `dlq` commands have."""

from __future__ import annotations

from typing import Annotated

import typer

ReasonFlag = Annotated[
    str | None,
    typer.Option("--reason", help="Only letters of this reason, such as json.malformed.", show_default=False),
]
PartitionFlag = Annotated[
    int | None, typer.Option("--partition", min=0, help="Only this partition of the events topic.", show_default=False)
]
