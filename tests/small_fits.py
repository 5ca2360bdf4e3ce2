"""Makes fits small for a test: few machines, rounds and pairs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streams.lab import fit_accounts, fit_events, held_out


def shrink_event_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fit the cards of events with two machines at most, of one pair."""
    for name, settings in (("PLAIN", fit_events.PLAIN), ("LABELLED", fit_events.LABELLED)):
        fewer = replace(settings, machines=min(2, settings.machines), bags=1, pairs=1)
        monkeypatch.setattr(fit_events, name, fewer)
    monkeypatch.setattr(fit_events, "ROUNDS", 40)


def shrink_account_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fit scorecards with few machines, and judge them by few others."""
    monkeypatch.setattr(held_out, "FOLDS", 3)
    monkeypatch.setattr(fit_accounts, "BAGS", 2)
