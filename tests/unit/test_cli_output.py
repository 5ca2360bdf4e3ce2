"""Where the output of a command goes when a stream is full, closed or missing."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHECK = f"{Path(sys.executable).parent / 'upload-gate'} policy check {ROOT / 'config' / 'policy.toml'}"


@pytest.mark.parametrize(
    ("typed", "code", "out", "err"),
    [
        (f"{CHECK} > /dev/full", 1, "", "error: the result cannot be written: No space left on device"),
        (f"{CHECK} -o json > /dev/full", 1, "", "error: the result cannot be written: No space left on device"),
        (f"{CHECK} >&-", 0, "", ""),
        (f"{CHECK} 2>&-", 0, "is valid", ""),
        (f"{CHECK} 2> /dev/full", 0, "is valid", ""),
        (f"{CHECK.replace('policy.toml', 'scorecard.toml')} 2>&-", 2, "", ""),
        (f"{CHECK} -o json | false; exit ${{PIPESTATUS[0]}}", 0, "", ""),
    ],
)
def test_a_stream_that_cannot_be_written_is_told_once_and_steers_nothing_else(
    typed: str, code: int, out: str, err: str
) -> None:
    done = subprocess.run(["bash", "-c", typed], capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stderr.strip()) == (code, err)
    assert out in done.stdout
    assert bool(out) == bool(done.stdout)
