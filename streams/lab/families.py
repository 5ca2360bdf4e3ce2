"""Groups accounts that must not be split between training and test: near-identical bots form families.

Two accounts are of one family if they share a device, an address, contents or captions that few accounts have, or most
of their wording. A value that many accounts share, such as the address of a campus, groups nobody.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.core.models.alphabet import Alphabet
from streams.core.models.ngrams import TABLE_BITS, views
from streams.lab.rows import Recorded

MOST_SHARERS: Final = 60
"""A feature that more accounts share groups nobody."""
LEAST_SHARED: Final = 2
"""Contents or captions that two accounts must share; one alone may be a picture that everybody passes on."""
LEAST_CAPTION: Final = 25
"""Characters from which a caption that two accounts share is worth noting."""
ALIKE: Final = 0.18
"""Cosine of two accounts' n-grams, weighed by rarity, from which their wording is of one family."""
LEAST_WORDED: Final = 5
"""Captions that an account needs for its wording to be compared."""
MOST_COMPARED: Final = 20_000
_ROWS: Final = 2_000
_PER_ACCOUNT: Final = 100


class Shown(NamedTuple):
    """Things that an upload shows and that other accounts may show too."""

    account: str
    device: str | None
    ip: str | None
    content: str | None
    text: str | None


def shown(upload: Recorded) -> Shown:
    """What the upload shows."""
    of = upload.request
    return Shown(of.account.id, of.device, of.ip, of.media.sha256, of.text)


def family_numbers(accounts: Sequence[str], uploads: Iterable[Shown], alphabet: Alphabet) -> NDArray[np.int64]:
    """A family's number for each account, in the order of `accounts`."""
    place = {account: number for number, account in enumerate(accounts)}
    sharing: dict[tuple[str, str], set[int]] = defaultdict(set)
    captions: dict[int, list[str]] = defaultdict(list)
    for one in uploads:
        number = place.get(one.account)
        if number is None:
            continue
        for kind, value in (("device", one.device), ("ip", one.ip), ("content", one.content)):
            if value:
                sharing[kind, value].add(number)
        if one.text:
            captions[number].append(one.text)
            if len(one.text) >= LEAST_CAPTION:
                sharing["caption", one.text].add(number)
    pairs = [*_sharing_pairs(sharing), *_alike_pairs(captions, alphabet)]
    return _components(len(accounts), pairs)


def _sharing_pairs(sharing: dict[tuple[str, str], set[int]]) -> list[tuple[int, int]]:
    pairs: list[tuple[int, int]] = []
    weak: dict[tuple[int, int], int] = defaultdict(int)
    for (kind, _), members in sharing.items():
        if not 1 < len(members) <= MOST_SHARERS:
            continue
        ordered = sorted(members)
        if kind in ("device", "ip"):
            pairs += [(ordered[0], other) for other in ordered[1:]]
            continue
        for at, one in enumerate(ordered):
            for other in ordered[at + 1 :]:
                weak[one, other] += 1
    return pairs + [pair for pair, shared in weak.items() if shared >= LEAST_SHARED]


def _alike_pairs(captions: dict[int, list[str]], alphabet: Alphabet) -> list[tuple[int, int]]:
    """Pairs of accounts whose captions hold mostly the same rare n-grams."""
    worded = [number for number, texts in captions.items() if len(texts) >= LEAST_WORDED][:MOST_COMPARED]
    if len(worded) < 2:
        return []
    vectors = _wording(worded, captions, alphabet)
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(worded), _ROWS):
        alike = (vectors[start : start + _ROWS] @ vectors.T).tocoo()
        close = alike.data > ALIKE
        for row, column in zip((alike.row[close] + start).tolist(), alike.col[close].tolist(), strict=True):
            if row < column:
                pairs.append((worded[row], worded[column]))
    return pairs


def _wording(worded: Sequence[int], captions: dict[int, list[str]], alphabet: Alphabet) -> Any:
    """The unit vector of each account's n-grams of letters, weighed by how rare they are among accounts."""
    from scipy.sparse import csr_matrix, diags

    rows: list[NDArray[np.int32]] = []
    columns: list[NDArray[np.int32]] = []
    for at, number in enumerate(worded):
        letters, _ = views(captions[number][:_PER_ACCOUNT], alphabet)
        end = int(letters.starts[-1])
        for cells in letters.cells[1:]:
            found = cells[:end][letters.first].astype(np.int32)
            rows.append(np.full(len(found), at, np.int32))
            columns.append(found)
    row, column = np.concatenate(rows), np.concatenate(columns)
    matrix = csr_matrix((np.ones(len(row), np.float32), (row, column)), shape=(len(worded), 1 << TABLE_BITS))
    matrix.sum_duplicates()
    having = np.bincount(matrix.indices, minlength=1 << TABLE_BITS)
    rarity = np.log((1 + len(worded)) / (1 + having)).astype(np.float32)
    rarity[(having < 3) | (having > max(3, len(worded) // 2))] = 0.0
    matrix.data = np.sqrt(matrix.data)
    weighed = (matrix @ diags(rarity)).tocsr()
    weighed.eliminate_zeros()
    lengths = np.sqrt(np.asarray(weighed.multiply(weighed).sum(1)).ravel())
    return (diags((1.0 / np.maximum(lengths, 1e-9)).astype(np.float32)) @ weighed).tocsr()


def _components(count: int, pairs: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    if not pairs:
        return np.arange(count, dtype=np.int64)
    one, other = np.array(pairs, np.int64).T
    graph = csr_matrix((np.ones(len(pairs), np.int8), (one, other)), shape=(count, count))
    numbers: NDArray[np.int64] = connected_components(graph, directed=False)[1].astype(np.int64)
    return numbers
