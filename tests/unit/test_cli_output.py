"""Where the output of a command goes when a stream is full, closed or missing, and what counts as a yes."""

import io
import subprocess
import sys
from pathlib import Path

import pytest

from gate.cli import output

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


class Interrupted(io.StringIO):
    def readline(self, size: int | None = -1, /) -> str:  # type: ignore[override]
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("answer", "is_yes", "is_word"),
    [
        (io.StringIO("y\n"), True, False),
        (io.StringIO(" YES \n"), True, False),
        (io.StringIO("Platform-Wide\n"), False, True),
        (io.StringIO("platform\n"), False, False),
        (io.StringIO("n\n"), False, False),
        (io.StringIO("\n"), False, False),
        (io.StringIO(""), False, False),
        (Interrupted(), False, False),
        (None, False, False),
    ],
)
def test_only_a_yes_confirms_and_only_the_word_in_full_where_one_is_expected(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: io.StringIO | None, is_yes: bool,
    is_word: bool,
) -> None:  # fmt: skip
    monkeypatch.setattr("sys.stdin", answer)

    given = output.confirmed("Set\x1b[2J it?")
    if answer is not None:
        answer.seek(0)
    written = output.typed("Type platform-wide:", "platform-wide")

    err = capsys.readouterr().err
    assert (given, written) == (is_yes, is_word)
    assert "it? [y/N] " in err
    assert "\x1b" not in err
