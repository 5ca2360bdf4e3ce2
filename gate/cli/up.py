"""`upload-gate up`: everything on this machine with one command, until Ctrl-C."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gate.cli.addresses import state_directory
from gate.cli.output import Output, OutputFlag, result, say
from gate.errors import LocalServerError, file_problem
from gate.local.stop_request import StopRequest

if TYPE_CHECKING:
    from rich.live import Live

    from gate.local.plan import Plan, UpOptions
    from gate.local.system import System

MESSAGES_KEPT = 50
DRAW_EVERY_S = 0.5
WATCH_EVERY_S = 0.2
CANNOT_REDRAW = ("dumb", "unknown")
"""Values of TERM of terminals that cannot redraw a screen; they get a line from time to time."""
LINE_EVERY_S = 5.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="up")(up)


def up(
    state: Annotated[
        Path | None,
        typer.Option(help="Directory for data, logs and addresses; default UPLOAD_GATE_STATE, else one in your home."),
    ] = None,
    redis: Annotated[str | None, typer.Option(help="Use this Redis instead of an embedded one (redis://…).")] = None,
    kafka: Annotated[str | None, typer.Option(help="Use this Kafka instead of the embedded one (host:port).")] = None,
    policy: Annotated[
        Path | None, typer.Option(help="Policy file, or a preset (calm, raid, closed); the shipped one otherwise.")
    ] = None,
    scorecard: Annotated[Path | None, typer.Option(help="Scorecard file; the shipped one otherwise.")] = None,
    traffic: Annotated[bool, typer.Option(help="Simulate people, a bot farm and a scam campaign.")] = True,
    rate: Annotated[float, typer.Option(min=0.1, max=2000, help="Simulated uploads per second.")] = 20.0,
    seed: Annotated[int, typer.Option(help="Seed of the simulation.")] = 7,
    replay: Annotated[Path | None, typer.Option(help="Labelled stream to replay instead of simulated traffic.")] = None,
    speed: Annotated[
        float, typer.Option(min=0.001, help="With --replay: how many times faster than recorded.")
    ] = 3600.0,
    port_base: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65_531,
            help="The first of five ports: gate, admin, worker's metrics, Redis, Kafka; default 8390 to 8392, 6390, 9392.",
        ),
    ] = None,
    output: OutputFlag = Output.TEXT,
) -> None:
    """Start Redis, Kafka, the worker, the gate and simulated traffic on this machine; stop them all on Ctrl-C.

    With -o json it prints one line of JSON once everything answers, and nothing else. The addresses with their
    passwords are in up.json in the state directory, which only you can read.

    Example: upload-gate up --no-traffic --state /var/lib/upload-gate
    """
    from gate.cli.given_servers import require_servers
    from gate.errors import SettingInvalid
    from gate.local.plan import UpOptions

    if replay is not None and not replay.is_file():
        raise SettingInvalid(f"--replay {replay} is not a file", "give a labelled stream (*.jsonl or *.jsonl.gz)")
    if policy is not None:
        from gate.policyfile import load_policy

        load_policy(policy)  # raises PolicyInvalid for a file that no gate could use
    if scorecard is not None and not scorecard.is_file():
        raise SettingInvalid(f"--scorecard {scorecard} is not a file")
    require_servers(redis, kafka)
    options = UpOptions(
        state=state_directory(state, os.environ)[0].absolute(), redis=redis, kafka=kafka, policy=policy,
        scorecard=scorecard, traffic=traffic, rate=rate, seed=seed, replay=replay, speed=speed, port_base=port_base,
    )  # fmt: skip
    raise typer.Exit(_Run(options, output is Output.JSON).run())


class _Run:
    """One run of `up`: its messages, its live view, and the request to end it."""

    def __init__(self, options: UpOptions, as_json: bool) -> None:
        self._options = options
        self._json = as_json
        self._stop_request = StopRequest()
        self._messages: list[str] = []
        self._live = False

    def run(self) -> int:
        from gate.local.plan import make_plan
        from gate.local.system import System, sole_owner

        # a second signal changes nothing: under make, Ctrl-C reaches this process twice
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, lambda *_: self._stop_request.set())
        with ExitStack() as stack:
            stack.enter_context(sole_owner(self._options.state))
            with _kept_in(self._options.state):
                plan = make_plan(self._options)
            for note in plan.notes:
                self.say(note)
            if plan.has_moved_ports:
                self.say("to choose the ports, give --port-base N")
            system = System(plan, self.say, self._stop_request)
            stack.callback(self._stop, system)
            began = time.monotonic()
            with _kept_in(self._options.state):
                is_up = system.start()
            if not is_up:
                return 0
            self._messages.clear()  # the running system shows no messages of its start
            self._greet(plan, time.monotonic() - began)
            self._watch(plan, system)
        return 0

    def say(self, line: str) -> None:
        """Print one line for people: on stderr, or under the live view while it is drawn."""
        self._messages.append(f"{time.strftime('%H:%M:%S')} {line}")
        del self._messages[:-MESSAGES_KEPT]
        if not self._live:
            say(*line.split("\n"))

    def _stop(self, system: System) -> None:
        if system.supervisor.is_empty:
            return
        self.say("stopping everything")
        began = time.monotonic()
        system.stop()
        self.say(f"all stopped, {time.monotonic() - began:.1f} s")

    def _greet(self, plan: Plan, seconds: float) -> None:
        if self._json:
            print(plan.address_line(), flush=True)
            return
        addresses = (f"  {name:<8} {address}" for name, address in plan.addresses())
        commands = (f"  {command}" for command in next_commands(plan))
        result(
            f"Upload Gate is up ({seconds:.1f} s)",
            "",
            *addresses,
            "",
            "Try in another terminal:",
            *commands,
            "",
            wraps=False,
        )

    def _watch(self, plan: Plan, system: System) -> None:
        """Show the system until its end is requested. Another thread restarts parts, because that may block."""
        keeper = threading.Thread(target=self._keep_running, args=(system,), name="restarts parts", daemon=True)
        keeper.start()
        if self._json:
            self._stop_request.wait()
        else:
            self._show(plan, system)

    def _keep_running(self, system: System) -> None:
        while not self._stop_request.wait(WATCH_EVERY_S):
            system.supervisor.watch(time.monotonic())

    def _show(self, plan: Plan, system: System) -> None:
        from gate.local.live import History, draw, line
        from gate.local.sample import Sampler, pages_of

        history = History()
        screen = self._screen()
        printed_s = time.monotonic()
        with Sampler(pages_of(plan)) as sampler:
            if screen is not None:
                screen.start()
                self._live = True
            try:
                while not self._stop_request.wait(DRAW_EVERY_S):
                    history.add(sampler.snapshot())
                    down = system.supervisor.down()
                    if screen is not None:
                        size = (screen.console.width, screen.console.height)
                        status, token = status_command(plan), give_token(plan)
                        view = draw(history, down, plan.addresses(), self._hints(plan), size, status, token)
                        screen.update(view, refresh=True)
                    elif time.monotonic() - printed_s >= LINE_EVERY_S:
                        printed_s = time.monotonic()
                        result(line(history, down))
            finally:
                self._live = False
                if screen is not None:
                    screen.stop()

    def _hints(self, plan: Plan) -> list[str]:
        return [f"try: {status_command(plan)}", *self._messages[-2:]]

    def _screen(self) -> Live | None:
        if not sys.stdout.isatty() or os.environ.get("TERM", "dumb") in CANNOT_REDRAW:
            return None
        from rich.live import Live

        return Live(auto_refresh=False, redirect_stdout=False, redirect_stderr=False)


@contextmanager
def _kept_in(state: Path) -> Iterator[None]:
    """Have a file that cannot be written be an error that names the state directory."""
    try:
        yield
    except OSError as error:
        raise LocalServerError(
            f"the state directory {state} cannot be used: {file_problem(error)}",
            "make room there, correct its owner, or choose another one with --state",
        ) from error


def give_token(plan: Plan) -> str:
    """The command that gives the traffic of this run a token of its own; empty if it runs none."""
    if not plan.has_traffic:
        return ""
    typed, where = _typed(plan)
    return f"{typed} token new traffic{where} > {shlex.quote(str(plan.traffic_token))}"


def status_command(plan: Plan) -> str:
    """The command that shows the pauses of this system."""
    typed, where = _typed(plan)
    return f"{typed} status{where}"


def next_commands(plan: Plan) -> list[str]:
    """Commands for a newcomer to try, in this order. They name the state directory if it is not the default."""
    typed, where = _typed(plan)
    return [
        f"{typed} check --account a-17 --kind image --class new{where}",
        f'{typed} pause --class new --for 10m --reason raid -m "bots from everywhere" --yes{where}',
        status_command(plan),
        f"{typed} release --all --instant --yes{where}",
    ]


def _typed(plan: Plan) -> tuple[str, str]:
    """How this program is typed here, and the option that names the state directory if it is not the default."""
    from gate.settings import default_state

    program = Path(sys.argv[0]).absolute()
    typed = ".venv/bin/upload-gate" if program.parent == Path.cwd() / ".venv/bin" else "upload-gate"
    own = plan.options.state != default_state(os.environ).absolute()
    return typed, f" --state {shlex.quote(str(plan.options.state))}" if own else ""
