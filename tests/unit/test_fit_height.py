"""What `status --watch` shows of many pauses and gates on a terminal of 24 rows: problems stay, the rest is counted."""

from __future__ import annotations

import pytest

from gate.cli.fit_height import fitted

HEAD = ["31 active pauses (rev 40)", "    in redis://127.0.0.1:6390/0"]
PAUSES = [line for n in range(31) for line in (f"  p-{n}  stop  class new", "      until 15:00 (in 1h)")]
OBEYS = [line for n in range(5) for line in (f"gate g-{n}  at http://g:", "    rev 40, heard 0.1 s ago")]
BEHIND = ["gate g-9  at http://g:", "    rev 39, heard 0.1 s ago, BEHIND rev 40"]


def test_what_fits_is_shown_as_it_is() -> None:
    lines = [*HEAD, *PAUSES[:8], *OBEYS, *BEHIND, "policy abc"]

    assert fitted(lines, len(lines)) == lines


@pytest.mark.parametrize("height", [10, 23, 40])
def test_of_many_pauses_and_gates_the_first_pauses_and_the_gates_that_do_not_obey_are_shown(height: int) -> None:
    shown = fitted([*HEAD, *PAUSES, *OBEYS, *BEHIND, "policy abc"], height)

    pauses = [line for line in shown if line.startswith("  p-")]
    assert height - 1 <= len(shown) <= height
    assert shown[:3] == [*HEAD, PAUSES[0]]
    assert shown[-3:] == [*BEHIND, "policy abc"]
    left_out = f"… and {31 - len(pauses)} more pauses; `upload-gate status` shows all"
    assert (left_out in shown) == (len(pauses) < 31)
    assert any("more gates that obey" in line for line in shown)


def test_the_further_lines_of_pauses_go_first() -> None:
    lines = [*HEAD, *PAUSES[:10], "policy abc"]

    assert fitted(lines, 8) == [*HEAD, *PAUSES[:10:2], "policy abc"]
