"""How figures are shown: the median counts, a contender that failed is an error and never a number."""

from __future__ import annotations

import json
import math
import os

import pytest

from tests.bench import __main__ as bench
from tests.bench import proc
from tests.bench.latency import quantile
from tests.bench.report import BenchError, Row, Spec, as_json, as_table, rows
from tests.bench.stage import Stage

LOWER = Spec("cpu", "µs", 50, 30)
HIGHER = Spec("ratio", "×", 6, 15, higher_is_better=True)
FREE = Spec("for orientation", "µs")


def test_the_value_is_the_median_of_the_rounds() -> None:
    row = Row(LOWER, (10.0, 1000.0, 20.0))

    assert row.value == 20.0


@pytest.mark.parametrize(
    ("spec", "value", "verdict"),
    [
        (LOWER, 30, "aim"),
        (LOWER, 31, "must"),
        (LOWER, 51, "missed"),
        (HIGHER, 15, "aim"),
        (HIGHER, 14, "must"),
        (HIGHER, 5, "missed"),
        (FREE, 5, ""),
    ],
)
def test_a_value_is_judged_in_the_direction_of_its_bars(spec: Spec, value: float, verdict: str) -> None:
    assert Row(spec, (value,)).verdict == verdict


def test_json_has_the_agreed_keys_and_every_run() -> None:
    shown = json.loads(as_json([Row(HIGHER, (20.0, 22.0, 21.0)), Row(FREE, (1.23456789,))]))

    assert shown == {
        "rows": [
            {"name": "ratio", "value": 21.0, "unit": "×", "must": 6, "aim": 15, "runs": [20.0, 22.0, 21.0]},
            {"name": "for orientation", "value": 1.235, "unit": "µs", "must": None, "aim": None, "runs": [1.235]},
        ]
    }


def test_a_failed_contender_is_an_error_and_not_a_number() -> None:
    (row,) = rows([LOWER], {LOWER: [1.0]}, error="BenchError: the gate has ended")

    shown = json.loads(as_json([row]))["rows"][0]

    assert shown["value"] is None
    assert shown["runs"] == []
    assert shown["error"] == "BenchError: the gate has ended"
    assert row.verdict == "error"
    assert "the gate has ended" in as_table([row])


@pytest.mark.parametrize("runs", [(), (math.nan,), (1.0, math.inf)])
def test_figures_that_are_none_are_an_error(runs: tuple[float, ...]) -> None:
    row = Row(LOWER, runs)

    assert (row.value, row.verdict) == (None, "error")


def test_a_spec_nobody_measured_is_an_error() -> None:
    first, second = rows([LOWER, FREE], {LOWER: [1.0]})

    assert (first.value, second.value) == (1.0, None)


def test_the_table_lines_up_and_names_unit_and_bars() -> None:
    head, *lines = as_table([Row(LOWER, (25.0, 26.0)), Row(HIGHER, (4.0,)), Row(FREE, (1234.5,))]).splitlines()

    assert head.split() == ["what", "value", "unit", "must", "aim", "runs"]
    assert lines[0].split() == ["cpu", "25.5", "µs", "50", "30", "aim", "25", "26"]
    assert lines[1].split() == ["ratio", "4", "×", "6", "15", "missed", "4"]
    assert lines[2].split() == ["for", "orientation", "1234", "µs", "-", "-", "1234"]


class _Failing:
    SPECS = (LOWER,)

    @staticmethod
    def measure(stage: Stage, rounds: int) -> dict[Spec, list[float]]:
        raise BenchError("no gate came up")


class _Working:
    SPECS = (HIGHER,)

    @staticmethod
    def measure(stage: Stage, rounds: int) -> dict[Spec, list[float]]:
        assert stage.home.is_dir()
        return {HIGHER: [float(rounds)]}


def test_a_group_that_fails_leaves_the_others_and_ends_with_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "GROUPS", {"a": _Failing, "b": _Working})
    monkeypatch.setattr("signal.signal", lambda *_: None)

    status = bench.main(["-o", "json", "--rounds", "2"])

    printed = capsys.readouterr().out
    first, second = json.loads(printed)["rows"]
    assert status == 1
    assert printed.count("\n") == 1
    assert (first["value"], first["error"]) == (None, "BenchError: no gate came up")
    assert second["value"] == 2.0


class _WithoutContender:
    SPECS = (HIGHER, FREE)

    @staticmethod
    def measure(stage: Stage, rounds: int) -> dict[Spec, list[float]]:
        stage.absent[HIGHER] = "there is no JDK"
        return {FREE: [1.0]}


def test_a_contender_that_cannot_be_had_is_shown_as_absent_and_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "GROUPS", {"a": _WithoutContender})
    monkeypatch.setattr("signal.signal", lambda *_: None)

    status = bench.main(["--rounds", "1"])

    ratio, free = capsys.readouterr().out.splitlines()[1:]
    assert status == 0
    assert ratio.split() == ["ratio", "-", "×", "6", "15", "absent", "there", "is", "no", "JDK"]
    assert free.split()[-1] == "1"


def test_cpu_of_a_process_that_has_ended_is_an_error() -> None:
    with pytest.raises(BenchError, match="has ended"):
        proc.cpu_s(2**22 + 1)


def test_cpu_and_memory_of_this_process_are_read() -> None:
    pid = os.getpid()

    assert proc.cpu_s(pid) > 0
    assert proc.pss_mb(pid) > 1
    assert pid in proc.tree(pid)


def test_a_quantile_is_the_smallest_value_that_so_many_do_not_exceed() -> None:
    ordered = [float(n) for n in range(1, 101)]

    assert (quantile(ordered, 0.5), quantile(ordered, 0.99), quantile([7.0], 0.99)) == (50.0, 99.0, 7.0)
