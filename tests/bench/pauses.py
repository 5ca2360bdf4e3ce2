"""How soon a pause is obeyed by three gates, and how long the command takes as an operator types it.

A witness listens on the channel on which Redis pushes the board in the step that accepts it, then asks each gate for
decisions until the last of them says `paused`: that is obeying, whatever was acknowledged. What the command says of
itself stands in a row beside it. The command is timed by the wall clock, start of the interpreter included.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from redis import Redis
from redis.client import PubSub

from tests.bench import pause_faults
from tests.bench.gates import Gate, gate, gate_environment
from tests.bench.report import BenchError, Spec
from tests.bench.stage import ROOT, Stage, own_environment

GATES = 3
PAUSES_A_ROUND = 3
COMMAND_WITHIN_S = 30.0
OBEY_WITHIN_S = 10.0
PAUSE = ("pause", "--class", "canary", "--for", "10m", "--reason", "drill", "-m", "bench")

_OBEYED = Spec("pause accepted by Redis to every gate obeying", "ms", 100, 20)
_SAID = Spec("pause accepted by Redis to every gate obeying, as the command says", "ms")
_TYPED = Spec("pause command as typed, to its answer", "s", 0.6, 0.3)
_FIRST = Spec("pause command as typed, to its first word", "ms", 300, 200)
SPECS = (_OBEYED, _SAID, _TYPED, _FIRST, *pause_faults.SPECS)


def measure(stage: Stage, rounds: int) -> dict[Spec, list[float]]:
    """Pause and release with all gates up. Raises BenchError."""
    found: dict[Spec, list[float]] = {spec: [] for spec in SPECS}
    environment = gate_environment(stage, stage.fresh("pauses"))
    with ExitStack() as stack:
        gates = [stack.enter_context(gate(stage, environment)) for _ in range(GATES)]
        for turn in range(rounds * PAUSES_A_ROUND):
            stage.say(f"pauses: {turn + 1} of {rounds * PAUSES_A_ROUND}")
            with Witness(stage.redis().url, f"{environment['UPLOAD_GATE_PREFIX']}board:changes", gates) as witness:
                began = time.monotonic()
                said, first_s = _command([*PAUSE], environment)
                found[_TYPED].append(time.monotonic() - began)
                found[_FIRST].append(first_s * 1e3)
                found[_OBEYED].append(witness.seconds() * 1e3)
            found[_SAID].append(float(str(said["accepted_to_obeyed_seconds"])) * 1e3)
            _command(["release", str(said["id"])], environment)
    return {**found, **pause_faults.measure(stage, rounds)}


class Witness:
    """Sees one pause arrive. Ready to see it once the block is entered."""

    def __init__(self, redis: str, channel: str, gates: Sequence[Gate]) -> None:
        self._client = Redis.from_url(redis, socket_timeout=COMMAND_WITHIN_S)
        self._channel = channel
        self._gates = gates
        self._pool = ThreadPoolExecutor(1)
        self._seen: Future[float] | None = None

    def __enter__(self) -> Witness:
        pushes = self._client.pubsub()  # type: ignore[no-untyped-call]
        pushes.subscribe(self._channel)
        if pushes.get_message(timeout=COMMAND_WITHIN_S) is None:
            raise BenchError("Redis does not confirm a subscription")
        self._seen = self._pool.submit(self._watch, pushes)
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True)
        self._client.close()

    def seconds(self) -> float:
        """From the push to the last gate's first `paused`. Raises BenchError where there was no push or no effect."""
        if self._seen is None:
            raise BenchError("nobody watched")
        return self._seen.result(COMMAND_WITHIN_S)

    def _watch(self, pushes: PubSub) -> float:
        with pushes:
            if pushes.get_message(timeout=COMMAND_WITHIN_S) is None:
                raise BenchError(f"no board was pushed on {self._channel}")
        began = time.perf_counter()
        pending = list(self._gates)
        while pending:
            pending = [one for one in pending if one.decide("canary") != "paused"]
            if time.perf_counter() - began > OBEY_WITHIN_S:
                raise BenchError(f"{len(pending)} gates do not pause after {OBEY_WITHIN_S:.0f} s")
        return time.perf_counter() - began


def _command(words: Sequence[str], environment: dict[str, str]) -> tuple[dict[str, object], float]:
    """Run `upload-gate` as typed; what it printed, and the seconds to its first word."""
    typed = [str(Path(sys.executable).with_name("upload-gate")), *words, "--yes", "-o", "json"]
    began = time.monotonic()
    with subprocess.Popen(
        typed, cwd=ROOT, env={**own_environment(), **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    ) as running:  # fmt: skip
        assert running.stderr is not None
        first = running.stderr.readline()
        first_s = time.monotonic() - began
        stdout, stderr = running.communicate(timeout=COMMAND_WITHIN_S)
    if running.returncode != 0:
        raise BenchError(f"upload-gate {words[0]} ended with {running.returncode}: {stdout} {first}{stderr}")
    said = json.loads(stdout)
    if not isinstance(said, dict):
        raise BenchError(f"upload-gate {words[0]} printed {stdout!r}")
    return said, first_s
