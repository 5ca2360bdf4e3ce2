"""`upload-gate`: finds the command that was typed, loads that one alone, and turns errors into exit codes.

Exit codes: 0 done · 1 error · 2 usage or cancelled · 3 not converged or refused by policy · 4 not allowed.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence

import typer

from gate.cli.output import say
from gate.errors import UploadGateError

COMMANDS = {
    "pause": "gate.cli.pause",
    "release": "gate.cli.pause",
    "status": "gate.cli.status",
    "check": "gate.cli.check",
    "explain": "gate.cli.explain",
    "policy": "gate.cli.policy",
    "serve": "gate.cli.serve",
    "worker": "gate.cli.serve",
    "up": "gate.cli.up",
}
"""Our commands and the modules that hold them; each has `register(app)`."""

GROUP = "upload_gate.commands"
"""Entry points through which other packages add commands: each names a `register(app)`."""


def main() -> None:
    """Run what was typed and exit."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; the only place where an unexpected error is caught."""
    debug = bool(os.environ.get("UPLOAD_GATE_DEBUG"))
    try:
        build(arguments)(args=list(arguments), prog_name="upload-gate")
    except UploadGateError as error:
        _trace(debug)
        say(f"error: {error}")
        return error.exit_code
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # the edge: whatever it is, one line and an exit code
        _trace(debug)
        say(f"error: unexpected {type(error).__name__}: {error}. Set UPLOAD_GATE_DEBUG=1 to see where it happened")
        return 1
    return 0


def build(arguments: Sequence[str]) -> typer.Typer:
    """The command line with the command that was typed; with all of them where it is none of ours, or help is asked."""
    app = typer.Typer(
        help="Scores accounts, decides uploads, and pauses them in a second.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    typed = arguments[0] if arguments else ""
    # a pause typed in a hurry must not wait for the imports of every other command
    for module in [COMMANDS[typed]] if typed in COMMANDS else dict.fromkeys(COMMANDS.values()):
        importlib.import_module(module).register(app)
    if typed not in COMMANDS:
        _register_others(app)
    return app


def _root(
    version: bool = typer.Option(False, "--version", help="Print the version and exit.", is_eager=True),
) -> None:
    if version:
        from importlib.metadata import version as installed

        print(installed("upload-gate"))
        raise typer.Exit


def _register_others(app: typer.Typer) -> None:
    from importlib.metadata import entry_points

    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            entry.load()(app)
        except (ImportError, AttributeError) as error:
            say(f"warning: the commands of {entry.value} cannot be loaded: {error}")


def _trace(debug: bool) -> None:
    if debug:
        traceback.print_exc()


if __name__ == "__main__":
    main()


if __name__ == "__main__":
    main()
