"""Bounded memories: dated items are the latest of all that were shown, however few there are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.core.rings import dated

MOST = 3
one = st.tuples(st.integers(0, 5), st.integers(0, 4)).map(lambda pair: bytes((0, pair[0], pair[1], 9)))


@given(st.lists(one, max_size=12))
def test_dated_items_keep_the_latest_date_of_the_items_that_were_shown_last(shown: list[bytes]) -> None:
    latest: dict[bytes, bytes] = {}
    for item in shown:
        latest[item[2:]] = max(item, latest.get(item[2:], b""))
    expected = b"".join(sorted(latest.values(), reverse=True)[:MOST])

    kept = b""
    for item in sorted(shown):
        kept = dated(kept, item, 2, MOST)

    assert kept == expected


def test_an_only_item_that_is_shown_again_keeps_the_later_date() -> None:
    early, late = b"\x00\x01ab", b"\x00\x02ab"

    assert dated(dated(b"", early, 2, MOST), late, 2, MOST) == late
    assert dated(dated(b"", late, 2, MOST), early, 2, MOST) == late
