"""How far a fit is stands on stderr: a bar on a terminal, lines in a log."""

from __future__ import annotations

import sys
import threading
from io import StringIO

import pytest

from streams.cli.models import options
from streams.cli.models.options import shown_progress
from tests.waiting import wait_until


def test_a_log_gets_a_line_again_and_again_also_within_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "LINE_EVERY_S", 0.001)
    log = StringIO()
    monkeypatch.setattr(sys, "stderr", log)

    with shown_progress() as progress:
        wait_until(lambda: log.getvalue().count("0% done after") > 2)
        progress(0.25, "by sites")
        wait_until(lambda: log.getvalue().count(" s: by sites\n") > 2)
    ended = log.getvalue()

    assert "\n25% done after " in ended
    assert "\r" not in ended
    assert "█" not in ended


def test_the_lines_end_with_a_fit_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "LINE_EVERY_S", 0.001)
    log = StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    running = {thread.name for thread in threading.enumerate()}

    def fit() -> None:
        with shown_progress():
            wait_until(log.getvalue)
            raise ValueError("few labels")

    with pytest.raises(ValueError, match="few labels"):
        fit()

    assert {thread.name for thread in threading.enumerate()} == running


def test_a_terminal_has_a_bar_and_no_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)

    with shown_progress() as progress:
        progress(0.5, "by sites")
        progress(1.0, "done")

    assert terminal.getvalue().startswith("\r[" + "█" * 15 + " " * 15 + "]  50% by sites")
    assert terminal.getvalue().endswith("done        \n")
