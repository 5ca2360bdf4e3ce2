"""Packages that are no dependencies of the project, in an environment of the stage, which ends with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.bench.report import Absent
from tests.bench.stage import Stage

WITHIN_S = 300.0


def installed(stage: Stage, what: str, requirements: tuple[str, ...]) -> Path:
    """The folder of the programs of a new environment that has the packages. Raises Absent, which says that `what` was not
    run."""
    home = stage.home / stage.fresh("environment")
    programs = home / "bin"
    stage.say(f"rivals: installing {', '.join(requirements)}")
    for command in (
        [sys.executable, "-m", "venv", str(home)],
        [str(programs / "python"), "-m", "pip", "install", "--quiet", *requirements],
    ):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Absent(f"{what} not run: {error}") from error
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip() or "no word").splitlines()[-1]
            raise Absent(f"{what} not run: {last}")
    return programs
