"""Which partition an account belongs to, as Kafka's own partitioner says."""

from __future__ import annotations

from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from streams.core.home import homes
from streams.pipeline.stamps import MAX_REMEMBERED, Stamps


def chosen(account: str, partitions: int) -> int:
    every = list(range(partitions))
    number: int = DefaultPartitioner()(account.encode(), every, every)
    return number


@given(st.lists(st.text(max_size=40), max_size=20), st.integers(1, 64))
def test_accounts_are_at_home_where_kafkas_partitioner_puts_their_keys(accounts: list[str], partitions: int) -> None:
    for partition in {0, partitions // 2, partitions - 1}:
        expected = [partitions if chosen(account, partitions) == partition else 0 for account in accounts]

        assert homes(accounts, partition, [partitions]) == expected


def test_the_largest_number_of_partitions_that_fits_counts() -> None:
    accounts = [f"a-{number}" for number in range(200)]

    found = homes(accounts, 1, [8, 4])

    expected = [8 if chosen(a, 8) == 1 else 4 if chosen(a, 4) == 1 else 0 for a in accounts]
    assert found == expected
    assert set(found) == {0, 4, 8}


def test_without_a_known_number_of_partitions_nobody_is_at_home() -> None:
    assert homes(["a"], 0, []) == [0]


def test_many_accounts_that_are_learned_at_once_have_the_stamps_of_each_by_itself() -> None:
    accounts = [f"a-{number}" for number in range(MAX_REMEMBERED // 2 + 1)]
    many, one_by_one = (Stamps("c/t", 1, (8, 4), 7) for _ in range(2))

    foreign = many.learn(accounts)

    expected = [(one_by_one.learn([account]), one_by_one.stamp(account, 5)) for account in accounts]
    assert [many.stamp(account, 5) for account in accounts] == [stamp for _, stamp in expected]
    assert foreign == sum(elsewhere for elsewhere, _ in expected) > 0
