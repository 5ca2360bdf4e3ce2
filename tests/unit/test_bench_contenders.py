"""Contenders that cannot be had here: their rows say so, and the bench goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bench.instructions import counted_server
from tests.bench.report import Absent, rows
from tests.bench.rivals import in_memory, servers
from tests.bench.stage import Stage


@pytest.mark.parametrize(
    ("contender", "said"),
    [(servers.ratelimit, "go is not installed"), (servers.throttlecrab, "cargo is not installed")],
)
def test_a_server_that_cannot_be_built_is_absent(
    contender: Callable[[Stage], object], said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(Absent, match=said), Stage(lambda line: None) as stage:
        contender(stage)


def test_the_row_of_an_absent_contender_says_why_and_is_no_error() -> None:
    (spec, *_) = in_memory.SPECS

    (row,) = rows([spec], {}, absent={spec: "throttlecrab-server was not run: cargo is not installed"})

    assert (row.verdict, row.error) == ("absent", "throttlecrab-server was not run: cargo is not installed")


def test_instructions_are_absent_where_valgrind_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(Absent, match="valgrind is not installed"), counted_server(tmp_path / "redis"):
        pytest.fail("a server was started")
