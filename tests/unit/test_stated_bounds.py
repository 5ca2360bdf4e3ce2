"""What a module says it remembers at most is what its constants say."""

from __future__ import annotations

from types import ModuleType

import pytest

from streams.core import events, fold
from streams.core.campaigns import captions_alike, first_sight, known, pictures, popular
from streams.core.crowd import account_ids, backfill


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (known, "MAX_SIGHTINGS"),
        (known, "MAX_ACCOUNTS"),
        (known, "MAX_SAME"),
        (captions_alike, "MAX_MARKS"),
        (pictures, "MAX_EXACT"),
        (popular, "MAX_PAGES"),
    ],
)
def test_a_bound_is_the_number_in_the_description_of_its_module(module: ModuleType, name: str) -> None:
    assert f"{getattr(module, name):,}" in (module.__doc__ or "")


@pytest.mark.parametrize(("module", "name"), [(first_sight, "SLOTS"), (account_ids, "MAX_SLOTS")])
def test_slots_are_the_power_of_two_in_the_description_of_their_module(module: ModuleType, name: str) -> None:
    slots = getattr(module, name)

    assert slots & (slots - 1) == 0
    assert f"2^{slots.bit_length() - 1} slots" in (module.__doc__ or "")


def test_pages_keep_at_most_the_accounts_that_are_described() -> None:
    assert f"{popular.KEPT_ESTABLISHED + popular.KEPT_OTHERS} accounts each" in (popular.__doc__ or "")
    assert popular.KEPT_DAYS == 4 * 7


def test_an_event_has_at_most_256_kib_and_an_account_knows_its_last_events_by_128_bytes() -> None:
    assert events.MAX_EVENT_BYTES == 256 * 1_024
    assert fold.MAX_EVENT_IDS * 4 == 128


def test_the_steps_of_features_take_the_memory_that_is_described() -> None:
    assert f"up to {round(16 * backfill.MAX_FEATURES / 1e6)} MB for the steps" in " ".join(
        (backfill.__doc__ or "").split()
    )
