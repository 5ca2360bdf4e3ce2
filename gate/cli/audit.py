"""`audit`: the group of commands that check and send the record of all changes; see `history`."""

from __future__ import annotations

import typer

from gate.cli.history import audit


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(audit, name="audit")
