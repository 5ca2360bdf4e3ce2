"""A figure, what it must and should be, and how figures are shown: as a table, or as one JSON object.

Decides what counts as a figure: the median of its rounds. A contender that failed gives an error and no number.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median


class BenchError(Exception):
    """A contender did not do its work, so there is no figure. The message says which and why."""


class Absent(BenchError):
    """A contender that is no dependency of the project cannot be had here. The message says which and why."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What is measured. `must` and `aim` are in `unit`; None: shown for orientation only."""

    name: str
    unit: str
    must: float | None = None
    aim: float | None = None
    higher_is_better: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A figure: one run a round, or why there is none. `is_absent`: because its contender cannot be had here."""

    spec: Spec
    runs: tuple[float, ...] = ()
    error: str | None = None
    is_absent: bool = False

    def __post_init__(self) -> None:
        if self.error is None and (not self.runs or not all(math.isfinite(run) for run in self.runs)):
            object.__setattr__(self, "error", "no finite figure was measured")

    @property
    def value(self) -> float | None:
        """The median of the rounds; None where the contender failed."""
        return None if self.error is not None else median(self.runs)

    @property
    def verdict(self) -> str:
        """`aim`, `must`, `missed`, `absent`, `error`, or nothing where there is no bar."""
        value, spec = self.value, self.spec
        if value is None:
            return "absent" if self.is_absent else "error"
        if spec.must is None:
            return ""
        if spec.aim is not None and _reaches(value, spec.aim, spec.higher_is_better):
            return "aim"
        return "must" if _reaches(value, spec.must, spec.higher_is_better) else "missed"


def rows(
    specs: Sequence[Spec],
    measured: Mapping[Spec, Sequence[float]],
    error: str | None = None,
    absent: Mapping[Spec, str] | None = None,
) -> list[Row]:
    """One row a spec, in their order; a spec without figures is an error, `error` says why if something is known.

    `absent` says of some why they cannot be measured here, which is no error.
    """
    return [_row(spec, measured.get(spec, ()), error, (absent or {}).get(spec)) for spec in specs]


def _row(spec: Spec, runs: Sequence[float], error: str | None, absent: str | None) -> Row:
    if absent is not None:
        return Row(spec, error=absent, is_absent=True)
    if error is None and runs:
        return Row(spec, tuple(runs))
    return Row(spec, error=error or "nothing was measured")


def as_json(found: Sequence[Row]) -> str:
    """`{"rows":[{"name","value","unit","must","aim","runs"}]}`; a failed row has value null and an `error` as well."""
    return json.dumps({"rows": [_as_object(row) for row in found]}, ensure_ascii=False)


def as_table(found: Sequence[Row]) -> str:
    """The same for people."""
    lines = [("what", "value", "unit", "must", "aim", "", "runs")]
    for row in found:
        spec = row.spec
        runs = row.error if row.error is not None else " ".join(_short(run) for run in row.runs)
        lines.append(
            (spec.name, _short(row.value), spec.unit, _short(spec.must), _short(spec.aim), row.verdict, runs or "")
        )
    widths = [max(len(line[i]) for line in lines) for i in range(6)]
    left = (0, 2, 5)
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line[:6], widths, strict=True))
        )
        + f"  {line[6]}".rstrip()
        for line in lines
    )


def _as_object(row: Row) -> dict[str, object]:
    spec = row.spec
    value = row.value
    shown: dict[str, object] = {
        "name": spec.name,
        "value": None if value is None else _rounded(value),
        "unit": spec.unit,
        "must": spec.must,
        "aim": spec.aim,
        "runs": [_rounded(run) for run in row.runs] if row.error is None else [],
    }
    return shown if row.error is None else {**shown, "error": row.error}


def _reaches(value: float, bar: float, higher_is_better: bool) -> bool:
    return value >= bar if higher_is_better else value <= bar


def _rounded(value: float) -> float:
    """Four significant digits: more would claim a precision that no run has."""
    return float(f"{value:.4g}")


def _short(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{_rounded(value):g}"
