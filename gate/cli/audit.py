"""`audit`: the group of the commands `verify` and `send`, which `gate.cli.history` holds."""

from __future__ import annotations

import typer

from gate.cli.history import audit


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(audit, name="audit")
