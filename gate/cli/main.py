"""`upload-gate`: imports the one command that was typed, runs it, and turns errors into exit codes.

Exit codes: 0 done · 1 error · 2 usage or cancelled · 3 not converged or refused by policy · 4 not allowed for this person.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import typer
from typer.core import TyperGroup

from gate.cli.output import CANCELLED, say, say_error, stdout_lost
from gate.cli.value_errors import explain_errors
from gate.cli.value_names import name_values
from gate.errors import OperatorError, UploadGateError, file_problem

COMMANDS = {
    "pause": "gate.cli.pause",
    "release": "gate.cli.release",
    "extend": "gate.cli.extend",
    "approve": "gate.cli.approve",
    "drill": "gate.cli.drill",
    "history": "gate.cli.history",
    "audit": "gate.cli.audit",
    "status": "gate.cli.status",
    "check": "gate.cli.check",
    "peek": "gate.cli.peek",
    "override": "gate.cli.override",
    "explain": "gate.cli.explain",
    "policy": "gate.cli.policy",
    "token": "gate.cli.token",
    "serve": "gate.cli.serve",
    "keeper": "gate.cli.keeper",
    "up": "gate.cli.up",
}
"""Our commands, and the module of each. Each module has `register(app)`."""

GROUP = "upload_gate.commands"
"""The group of entry points through which other packages add commands. An entry's name is the command; its value is a
function with typer's annotations, or a `typer.Typer` for a group of commands."""

_SENTENCE = 1_000
"""Characters that no first sentence of a help text reaches."""
INTERRUPTED = 130  # the exit code that typer gives Ctrl-C
_VERSION_FLAGS = ("--version", "-V")


def main() -> None:
    """Run the command line and exit. A result that could not be written, other than to a closed pipe, is an error."""
    code, lost = run(sys.argv[1:]), stdout_lost()
    if lost is not None and not isinstance(lost, BrokenPipeError):
        say(f"error: the result cannot be written: {file_problem(lost)}")
        code = code or UploadGateError.exit_code
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; the only place where an unexpected error is caught."""
    debug = bool(os.environ.get("UPLOAD_GATE_DEBUG"))
    if _asks_for_version(arguments):
        _print_version()
        return 0
    if not debug:  # the Kafka client logs what it tries again; what fails for good comes as an error
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        command = typer.main.get_command(build(arguments))
        name_values(command)
        explain_errors(command)
        _require_values(command, arguments)
        command(args=list(arguments), prog_name="upload-gate")
    except UploadGateError as error:
        _trace(debug)
        say_error(error)
        return error.exit_code
    except SystemExit as leaving:
        if leaving.code == INTERRUPTED:
            say("cancelled")
            return CANCELLED
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except KeyboardInterrupt:
        say("cancelled")
        return CANCELLED
    except Exception as error:  # the edge: every error becomes one line and an exit code
        _trace(debug)
        say(f"error: unexpected {type(error).__name__}: {error}. Set UPLOAD_GATE_DEBUG=1 to see where it happened")
        return 1
    return 0


class WholeSummaries(TyperGroup):
    """A group of commands whose help shows the first sentence of each command whole, wrapped to the terminal."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands in the order in which they were added."""
        commands = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        rows = [(name, command.get_short_help_str(_SENTENCE)) for name, command in commands if command is not None]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def build(arguments: Sequence[str]) -> typer.Typer:
    """The typer app with the command that was typed; with all commands if none was typed or help was requested."""
    app = typer.Typer(
        cls=WholeSummaries,
        help="Score accounts, decide about uploads, and pause uploads within a second.",
        epilog="Example: upload-gate up",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    typed = arguments[0] if arguments else ""
    # an urgent pause must not wait for the imports of every other command
    if typed in COMMANDS:
        importlib.import_module(COMMANDS[typed]).register(app)
    elif not _add_entry_points(app, typed):
        for module in COMMANDS.values():
            importlib.import_module(module).register(app)
        _add_entry_points(app, None)
    for group in app.registered_groups:
        group.cls = WholeSummaries
    return app


def _require_values(root: Any, arguments: Sequence[str]) -> None:
    """Raise OperatorError for an option that needs a value and is followed by another option.

    The parser would take `--for` in `--class --for 10m` for the class, and complain about `10m`.
    """
    commands = getattr(root, "commands", {})
    command = commands.get(arguments[0]) if arguments else None
    takers = {
        name
        for parameter in getattr(command, "params", ())
        if parameter.param_type_name == "option" and not parameter.is_flag
        for name in parameter.opts
    }
    options = {name for parameter in getattr(command, "params", ()) for name in parameter.opts if name[0] == "-"}
    for name, following in pairwise(arguments):
        if name in takers and following in options:
            raise OperatorError(f"{name} needs a value, and is followed by {following}", f"give one after {name}")


def _root(
    version: bool = typer.Option(False, *_VERSION_FLAGS, help="Print the version and exit."),
) -> None:
    """Declares --version for the help text. `run` handles the option itself."""


def _asks_for_version(arguments: Sequence[str]) -> bool:
    """True for `upload-gate --version` and for `upload-gate COMMAND --version`."""
    if not arguments:
        return False
    return arguments[0] in _VERSION_FLAGS or (len(arguments) == 2 and arguments[1] in _VERSION_FLAGS)


def _print_version() -> None:
    from importlib.metadata import version

    print(f"upload-gate {version('upload-gate')}")


def _add_entry_points(app: typer.Typer, only: str | None) -> bool:
    """Add the commands of other packages, all or only the one named `only`. Returns whether any was added.

    Raises UploadGateError if the one named `only` cannot be loaded.
    """
    from importlib.metadata import entry_points

    entries = entry_points(group=GROUP) if only is None else entry_points(group=GROUP, name=only)
    for entry in sorted(entries, key=lambda entry: entry.name):
        try:
            command = entry.load()
        except (ImportError, AttributeError) as error:
            what = f"the command {entry.name} ({entry.value}) cannot be loaded: {error}"
            remedy = "if its code was updated, install it again: in a checkout, make does"
            if only is not None:
                raise UploadGateError(what, remedy) from error
            say(f"warning: {what}; {remedy}")
            continue
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=entry.name)
        else:
            app.command(name=entry.name)(command)
    return bool(entries)


def _trace(debug: bool) -> None:
    if debug:
        traceback.print_exc()


if __name__ == "__main__":
    main()
