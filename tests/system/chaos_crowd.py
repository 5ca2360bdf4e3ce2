"""What the crowd's counts should be: every account that showed a feature, and which worker process saw it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from streams.core.crowd import CEILING, KINDS, Crowd, ShownFeatures
from streams.core.crowd.record import parsed, parsed_name

FORGOTTEN = 3
"""Accounts of a feature that a process may forget: a lone one whose slot another feature took, again and again.

This is a judgement, not a proof: a run without faults loses up to two of a feature's accounts. Counts that are low by so
few are therefore not wrong, but the verdict shows how many there are.
"""

NOBODY = 0
"""The life of what an unknown process saw."""

Feature = tuple[int, int]


class ExactCrowd(Crowd):
    """A crowd that also keeps the accounts themselves, and in which `life` they were seen."""

    def __init__(self) -> None:
        super().__init__()
        self.life = NOBODY
        self._shown: dict[Feature, int | set[int]] = {}

    def note(self, partition: int, kind: int, value: int, account: int, at_us: int, established: bool = False) -> None:
        """See Crowd."""
        super().note(partition, kind, value, account, at_us, established)
        feature, one = (kind, value), self.life << 32 | account
        held = self._shown.setdefault(feature, one)
        if held == one:
            return
        if isinstance(held, set):
            held.add(one)
        else:
            self._shown[feature] = {held, one}

    def note_batch(self, partition: int, batch: Mapping[int, ShownFeatures]) -> None:
        """See Crowd; each feature goes through `note`, so that none is missed here."""
        for kind, shown in batch.items():
            for value, account, at_us, established in zip(*(column.tolist() for column in shown), strict=True):
                self.note(partition, kind, value, account, at_us, established)

    def bounds(self, forgotten: int) -> Iterator[tuple[Feature, int, int]]:
        """For each feature the least and the most that may be published for the partition.

        The most is how many accounts there are; the least what the process that saw most of them must have counted,
        had it forgotten so many of them.
        """
        for feature, held in self._shown.items():
            if isinstance(held, int):
                yield feature, 0, 1
                continue
            whole = len({one & 0xFFFF_FFFF for one in held})
            by_life = Counter(one >> 32 for one in held if one >> 32 != NOBODY)
            least = min(max(by_life.values(), default=0), CEILING) - forgotten
            yield feature, least if least > KINDS[feature[0]].floor else 0, min(whole, CEILING)


def published(records: Iterable[tuple[bytes, bytes | None]]) -> dict[tuple[int, Feature], int]:
    """The largest count of each partition and feature that a listener hears."""
    found: dict[tuple[int, Feature], int] = {}
    for key, value in records:
        partition, _, feature = key.decode().partition(":")
        named, told = parsed_name(feature), parsed(value or b"")
        if named is not None and told is not None:
            at = (int(partition), named)
            found[at] = max(found.get(at, 0), told[1][0])
    return found


def wrong_counts(
    partition: int, exact: ExactCrowd, heard: Mapping[tuple[int, Feature], int], forgotten: int = FORGOTTEN
) -> list[tuple[Feature, int, int, int]]:
    """The features whose published count is out of bounds: feature, count, least, most."""
    bounds = {feature: (least, most) for feature, least, most in exact.bounds(forgotten)}
    mine = {feature: count for (owner, feature), count in heard.items() if owner == partition}
    wrong = []
    for feature in bounds.keys() | mine.keys():
        least, most = bounds.get(feature, (0, 0))
        count = mine.get(feature, 0)
        if not least <= count <= most:
            wrong.append((feature, count, least, most))
    return wrong
