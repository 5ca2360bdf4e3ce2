"""A bounded dict keeps what was put into it last."""

from __future__ import annotations

import pytest

from gate.core.make_room import make_room


@pytest.mark.parametrize("most", [1, 2, 63, 64, 1_000])
def test_a_full_dict_loses_its_first_entries_and_never_holds_more(most: int) -> None:
    kept: dict[int, None] = {}
    for n in range(3 * most + 5):
        make_room(kept, n, most)
        kept[n] = None

        assert len(kept) <= most
        assert list(kept) == list(range(n - len(kept) + 1, n + 1))


def test_a_dict_with_room_loses_nothing() -> None:
    kept = dict.fromkeys(range(99))

    make_room(kept, 99, 100)

    assert list(kept) == list(range(99))


def test_a_64th_goes_at_once_so_that_the_first_key_is_rarely_searched() -> None:
    kept = dict.fromkeys(range(6_400))

    make_room(kept, 6_400, 6_400)

    assert list(kept) == list(range(100, 6_400))


def test_a_key_that_is_there_needs_no_room() -> None:
    kept = dict.fromkeys(range(640))

    make_room(kept, 7, 640)

    assert list(kept) == list(range(640))
