"""Near-duplicate pictures: what is within the distance is found nearly always, what is beyond it never."""

from __future__ import annotations

import numpy as np
import pytest

from streams.core.near import LONG_HASH, NOTHING, SHORT_HASH, Hashes, NearHashes, NearShape, parse_hash

SHAPES = pytest.mark.parametrize("shape", [SHORT_HASH, LONG_HASH], ids=["64 bits", "256 bits"])


def some_hashes(shape: NearShape, count: int, seed: int = 1) -> Hashes:
    return np.random.default_rng(seed).integers(0, 1 << 64, (count, shape.bits // 64), dtype=np.uint64)


def flipped(hashes: Hashes, distance: int, bits: int, seed: int = 2) -> Hashes:
    """Each hash with that many of its bits turned."""
    rng = np.random.default_rng(seed)
    changed = hashes.copy()
    for row in changed:
        for bit in rng.choice(bits, distance, replace=False):
            row[bit // 64] ^= np.uint64(1) << np.uint64(bit % 64)
    return changed


@SHAPES
def test_of_pairs_just_within_the_distance_95_in_100_are_found(shape: NearShape) -> None:
    near = NearHashes(shape, 1 << 16)
    known = some_hashes(shape, 1 << 16)
    near.remember(known, np.arange(len(known)))

    found = near.nearest(flipped(known[:6_000], shape.distance, shape.bits))

    assert (found == np.arange(6_000)).mean() >= 0.95


@SHAPES
def test_pairs_at_half_the_distance_are_found_practically_always(shape: NearShape) -> None:
    near = NearHashes(shape, 1 << 14)
    known = some_hashes(shape, 1 << 14)
    near.remember(known, np.arange(len(known)))

    found = near.nearest(flipped(known[:3_000], shape.distance // 2, shape.bits))

    assert (found == np.arange(3_000)).mean() >= 0.998


@SHAPES
def test_what_is_one_bit_too_far_is_never_found(shape: NearShape) -> None:
    near = NearHashes(shape, 1 << 12)
    known = some_hashes(shape, 1 << 12)
    near.remember(known, np.arange(len(known)))

    found = near.nearest(flipped(known, shape.distance + 1, shape.bits))

    assert (found == NOTHING).all()


def test_the_nearest_of_several_is_found_and_of_equals_the_first() -> None:
    near = NearHashes(SHORT_HASH, 64)
    base = some_hashes(SHORT_HASH, 1)
    close, closer = flipped(base, 3, 64), flipped(base, 1, 64)
    near.remember(np.concatenate([close, closer, base, base]), np.array([4, 5, 9, 7]))

    assert near.nearest(base).tolist() == [7]


def test_a_full_memory_forgets_the_oldest() -> None:
    near = NearHashes(SHORT_HASH, 128)
    known = some_hashes(SHORT_HASH, 300)
    for start in range(0, 300, 30):
        near.remember(known[start : start + 30], np.arange(start, start + 30))

    found = near.nearest(known)

    assert len(near) == 128
    assert (found[:172] == NOTHING).all()
    assert (found[172:] == np.arange(172, 300)).all()


def test_an_empty_memory_finds_nothing() -> None:
    assert NearHashes(SHORT_HASH, 16).nearest(some_hashes(SHORT_HASH, 3)).tolist() == [NOTHING] * 3


def test_finding_does_not_depend_on_how_hashes_were_batched() -> None:
    known = some_hashes(SHORT_HASH, 2_000)
    together, singly = NearHashes(SHORT_HASH, 4_096), NearHashes(SHORT_HASH, 4_096)
    together.remember(known, np.arange(2_000))
    for number in range(2_000):
        singly.remember(known[number : number + 1], np.array([number]))
    questions = flipped(known, 8, 64)

    assert together.nearest(questions).tolist() == singly.nearest(questions).tolist()


@pytest.mark.parametrize("text", ["", "12", "g" * 16, "0" * 15, "0" * 65, "-" + "0" * 15, "0_0" + "0" * 13, "０" * 16])
def test_what_is_no_hash_is_told(text: str) -> None:
    assert parse_hash(text) is None


def test_hashes_are_read_in_either_case_and_length() -> None:
    assert parse_hash("00000000000000fF") == (255,)
    assert parse_hash("0" * 48 + "00000000000000ff") == (0, 0, 0, 255)
