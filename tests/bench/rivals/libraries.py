"""Other limiter libraries in process on Redis beside our own check in process: three buckets of an account, CPU of both sides.

The libraries work one check after the other, as they are made to; ours has 64 callers whose checks share calls. They are
installed into an environment of the stage, for they are no dependencies of the project.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.bench.report import Absent, BenchError, Spec
from tests.bench.rivals.calls import flush
from tests.bench.rivals.installed import WITHIN_S, installed
from tests.bench.rivals.library_loop import LIBRARIES, ONE_BUCKET
from tests.bench.stage import ROOT, Stage, own_environment

REQUIREMENTS = ("limits==5.8.0", "throttled-py==3.5.0", "pyrate-limiter==4.5.0", "redis==7.1.0", "hiredis==3.3.0")
CHECKS = 5_000
OWN_CHECKS = 32_000
CALLERS = 64
BATCH = 32

_CPU = {name: Spec(f"{name} / ours, in process on Redis, CPU per check", "×", 15, 20, True) for name in LIBRARIES}
_REDIS = {name: Spec(f"{name} / ours, in process on Redis, Redis CPU", "×", 3, 5, True) for name in LIBRARIES}
_THEIRS = {name: Spec(f"{name} in process on Redis, CPU per check", "µs") for name in (*LIBRARIES, ONE_BUCKET)}
_THEIRS_REDIS = {name: Spec(f"{name} in process on Redis, Redis CPU per check", "µs") for name in _THEIRS}
_OURS = Spec("ours in process on Redis, CPU per check, 64 callers", "µs")
_OURS_REDIS = Spec("ours in process on Redis, Redis CPU per check, 64 callers", "µs")
_BATCHED = Spec("ours in process on Redis, CPU per check, 32 in a call", "µs")
SPECS = (
    *_CPU.values(), *_REDIS.values(), *_THEIRS.values(), *_THEIRS_REDIS.values(), _OURS, _OURS_REDIS, _BATCHED,
)  # fmt: skip


def measure(stage: Stage, rounds: int) -> dict[Spec, list[float]]:
    """Alternate all. Raises BenchError."""
    found: dict[Spec, list[float]] = {spec: [] for spec in SPECS}
    python: Path | None = None
    try:
        python = installed(stage, "the libraries were", REQUIREMENTS) / "python"
    except Absent as error:
        stage.say(f"rivals: {error}")
        of_theirs = (each for group in (_CPU, _REDIS, _THEIRS, _THEIRS_REDIS) for each in group.values())
        stage.absent.update(dict.fromkeys(of_theirs, str(error)))
    for turn in range(rounds):
        stage.say(f"rivals: libraries, round {turn + 1} of {rounds}")
        ours, ours_redis = _own(stage, CALLERS, 1)
        found[_OURS].append(ours)
        found[_OURS_REDIS].append(ours_redis)
        found[_BATCHED].append(_own(stage, CALLERS // BATCH, BATCH)[0])
        for name in _THEIRS if python else ():
            script = str(Path(__file__).with_name("library_loop.py"))
            theirs, theirs_redis = _run(stage, [str(python), "-P", script, name, stage.redis().url, str(CHECKS)])
            found[_THEIRS[name]].append(theirs)
            found[_THEIRS_REDIS[name]].append(theirs_redis)
            if name in LIBRARIES:
                found[_CPU[name]].append(theirs / ours)
                found[_REDIS[name]].append(theirs_redis / ours_redis)
    return found


def _own(stage: Stage, callers: int, batch: int) -> tuple[float, float]:
    given = (stage.redis().url, stage.fresh("own"), str(OWN_CHECKS), str(callers), str(batch))
    return _run(stage, [sys.executable, "-m", "tests.bench.rivals.own_loop", *given])


def _run(stage: Stage, command: list[str]) -> tuple[float, float]:
    """CPU µs a check of the process and of Redis, as it says."""
    flush(stage)
    done = subprocess.run(
        command, cwd=ROOT, env=own_environment(), capture_output=True, text=True, timeout=WITHIN_S, check=False
    )
    if done.returncode:
        raise BenchError(f"{' '.join(command[-4:])} failed: {(done.stderr.strip() or 'no word').splitlines()[-1]}")
    said = json.loads(done.stdout)
    return float(said["us"]), float(said["redis_us"])
