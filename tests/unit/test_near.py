"""Near-duplicate pictures: what is within the distance is found nearly always, what is beyond it never."""

from __future__ import annotations

import numpy as np
import pytest

from streams.core.near import LONG_HASH, NOTHING, SHORT_HASH, Hashes, NearHashes, NearShape, parse_hash

EMPTY = -1
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
    assert len(NearHashes(SHORT_HASH, 16)) == 0
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
    assert parse_hash("8" + "0" * 15 + "4" + "0" * 15 + "2" + "0" * 15 + "1" + "0" * 15) == (
        8 << 60, 4 << 60, 2 << 60, 1 << 60,
    )  # fmt: skip


@pytest.mark.parametrize(("shape", "distance"), [(SHORT_HASH, 8), (LONG_HASH, 31)], ids=["64 bits", "256 bits"])
def test_hashes_are_near_up_to_8_bits_of_64_and_31_of_256(shape: NearShape, distance: int) -> None:
    near = NearHashes(shape, 1 << 10)
    known = some_hashes(shape, 1 << 10)
    near.remember(known, np.arange(len(known)))

    within, beyond = (near.nearest(flipped(known, bits, shape.bits)) for bits in (distance, distance + 1))

    assert (within == np.arange(len(known))).mean() >= 0.9
    assert (beyond == EMPTY).all()


@pytest.mark.parametrize("capacity", [0, -1, (1 << 21) + 1])
def test_a_memory_holds_one_to_two_million_hashes(capacity: int) -> None:
    with pytest.raises(ValueError, match="holds 1 to 2,097,152 of them"):
        NearHashes(SHORT_HASH, capacity)


@pytest.mark.parametrize("capacity", [1, 2, 31, 32, 33, 64, 95, 96, 1_000])
def test_a_memory_of_any_size_finds_all_that_it_holds(capacity: int) -> None:
    near = NearHashes(SHORT_HASH, capacity)
    known = some_hashes(SHORT_HASH, capacity + 5)
    near.remember(known, np.arange(len(known)))

    assert len(near) == capacity
    assert near.nearest(known).tolist() == [EMPTY] * 5 + list(range(5, capacity + 5))


@pytest.mark.parametrize("capacity", [1 << 10, 1 << 20, 1 << 21])
def test_a_memory_takes_about_ten_bytes_for_each_hash_and_table(capacity: int) -> None:
    arrays = [each for each in vars(NearHashes(SHORT_HASH, capacity)).values() if isinstance(each, np.ndarray)]

    assert 10.0 <= sum(array.nbytes for array in arrays) / capacity / SHORT_HASH.tables < 11.5


def test_a_memory_holds_a_million_hashes_of_64_bits_where_nothing_else_is_said() -> None:
    near, said = NearHashes(), NearHashes(SHORT_HASH, 1 << 20)

    assert {name: each.nbytes for name, each in vars(near).items() if isinstance(each, np.ndarray)} == {
        name: each.nbytes for name, each in vars(said).items() if isinstance(each, np.ndarray)
    }


@SHAPES
def test_each_table_compares_32_bits_that_are_not_of_its_key(shape: NearShape) -> None:
    near = NearHashes(shape, 1 << 21)
    plain = np.zeros((1, shape.bits // 64), np.uint64)
    turned = np.repeat(plain, shape.bits, axis=0)
    for bit in range(shape.bits):
        turned[bit, bit // 64] = np.uint64(1) << np.uint64(bit % 64)

    cells, samples = near._cells(turned)
    plain_cells, plain_samples = near._cells(plain)

    of_key, of_sample = cells != plain_cells, samples != plain_samples
    assert of_key.sum(axis=0).tolist() == [16] * shape.tables
    assert of_sample.sum(axis=0).tolist() == [32] * shape.tables
    assert not (of_key & of_sample).any()


def test_a_blank_picture_is_found_beside_empty_places() -> None:
    near = NearHashes(SHORT_HASH, 256)
    blank = np.zeros((1, 1), np.uint64)

    before = near.nearest(blank).tolist()
    near.remember(np.concatenate([some_hashes(SHORT_HASH, 3), blank]), np.array([5, 6, 7, 8]))

    assert before == [EMPTY]
    assert near.nearest(blank).tolist() == [8]


@pytest.mark.parametrize("at_once", [1, 7, 64])
def test_of_one_picture_that_comes_again_and_again_the_last_forty_are_kept(at_once: int) -> None:
    near = NearHashes(SHORT_HASH, 64)
    same = np.repeat(some_hashes(SHORT_HASH, 1), 64, axis=0)
    for start in range(0, 64, at_once):
        near.remember(same[start : start + at_once], np.arange(start, min(64, start + at_once)))

    assert near.nearest(same[:1]).tolist() == [64 - 40]


def test_more_hashes_than_a_memory_holds_leave_the_last_ones() -> None:
    near = NearHashes(SHORT_HASH, 100)
    known = some_hashes(SHORT_HASH, 250)
    near.remember(known, np.arange(250))

    assert near.nearest(known).tolist() == [EMPTY] * 150 + list(range(150, 250))
