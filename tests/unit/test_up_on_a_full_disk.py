"""`up` where its state directory takes no file: it names the directory and what to do, and starts nothing."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from gate.local.free_port import free_port


def no_room() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


@pytest.mark.parametrize(
    ("taken", "full", "why"),
    [(("salt",), False, "Is a directory"), ((), True, "File too large")],
    ids=["read", "write"],
)
def test_a_file_that_cannot_be_used_is_an_error_that_names_the_state_directory(
    tmp_path: Path, taken: tuple[str, ...], full: bool, why: str
) -> None:
    for name in taken:
        (tmp_path / name).mkdir()
    typed = ["up", "--state", str(tmp_path), "--no-traffic", "--port-base", str(free_port())]

    done = subprocess.run(
        [sys.executable, "-m", "gate.cli.main", *typed], capture_output=True, text=True, timeout=60, check=False,
        preexec_fn=no_room if full else None,
    )  # fmt: skip

    said = " ".join(done.stderr.split())
    assert done.returncode == 1
    assert f"error: the state directory {tmp_path} cannot be used: {why}. Make room there" in said
    assert not (tmp_path / "up.json").exists()
