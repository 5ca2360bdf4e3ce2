"""The link model: weights for hashed n-grams of a link's host and of its path, summed into calibrated log odds.

Of a host only the part counts that its user chose: the name of a hosting provider is cut off first, so that no provider
is condemned for its worst users. A path alone must not condemn a host: its share of the log odds is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.core.models.alphabet import Alphabet
from streams.core.models.captions import CHUNK
from streams.core.models.ngrams import NAME_BITS, TABLE_BITS, NgramView, name_views, view_sums, views
from streams.core.weblinks import Link, WebLinks, host, link_path

MAX_PATH_CHARS: Final = 60
"""Characters of a path that are read."""


class LinkText(NamedTuple):
    """The parts of a link that the model reads: the host without its hosting provider, and the path, `` for none."""

    name: str
    path: str


@dataclass(frozen=True, slots=True)
class LinkModel:
    """Weights fitted from labelled links.

    `names` holds 2^20 int16 weights and `paths` 2^18; `scale` turns their sums into log odds, `offset` is added. The
    path adds `path_bound` at most, in either direction. `prior` is the log odds of an abusive link among those the
    model was fitted on. `hash` names the whole.
    """

    names: NDArray[np.int16]
    paths: NDArray[np.int16]
    scale: float
    offset: float
    path_bound: float
    prior: float
    hash: str

    def __post_init__(self) -> None:
        for table, bits in ((self.names, NAME_BITS), (self.paths, TABLE_BITS)):
            if table.shape != (1 << bits,) or table.dtype != np.int16:
                raise ValueError(f"a link model has {1 << NAME_BITS} and {1 << TABLE_BITS} weights of 16 bits")


def read_link(link: str, web: WebLinks) -> LinkText | None:
    """The parts of a link that the model reads; None for a link without a host. Scheme, `www.`, letter case of the
    host, query, fragment and a slash at the end make no difference.
    """
    name = host(link)
    return link_text(Link(name, link_path(link)), web) if name else None


def link_text(link: Link, web: WebLinks) -> LinkText:
    """The parts that the model reads of a link that was found."""
    return LinkText(web.own_name(link.host)[0], link.path[:MAX_PATH_CHARS])


def link_log_odds(model: LinkModel, alphabet: Alphabet, links: Sequence[LinkText]) -> NDArray[np.float64]:
    """The log odds that each link is abusive, at the share of abuse the model was fitted on.

    A link's value does not depend on the links around it.
    """
    odds = model.offset + _weighed(model.names, model.scale, alphabet, name_views, [link.name for link in links])
    with_path = [i for i, link in enumerate(links) if link.path]
    if with_path:
        added = _weighed(model.paths, model.scale, alphabet, views, [links[i].path for i in with_path])
        odds[with_path] += np.clip(added, -model.path_bound, model.path_bound)
    return odds


def _weighed(
    table: NDArray[np.int16],
    scale: float,
    alphabet: Alphabet,
    views_of: Callable[[Sequence[str], Alphabet], Sequence[NgramView]],
    texts: Sequence[str],
) -> NDArray[np.float64]:
    values = np.zeros(len(texts))
    for start in range(0, len(texts), CHUNK):
        sums, counts = view_sums(table, views_of(texts[start : start + CHUNK], alphabet))
        values[start : start + CHUNK] = sums * scale / np.sqrt(np.maximum(counts, 1))
    return values
