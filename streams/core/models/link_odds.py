"""Reads the links of a batch of uploads with numpy: for each upload the log odds of its worst link.

An upload's number does not depend on the batch around it: the sums are integers, and log odds are rounded to 64ths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from streams.core.models.alphabet import Alphabet
from streams.core.models.link_model import LinkModel, LinkText, link_log_odds, link_text
from streams.core.models.marks import MOST_ODDS, ODDS_STEPS
from streams.core.weblinks import WebLinks


class UploadLinks(NamedTuple):
    """Where the links of one upload stand: those that it names, and its caption."""

    links: Sequence[str]
    text: str | None


class ReadsLinks(Protocol):
    """Gives the log odds of each upload's worst link, whatever other uploads it is given with."""

    def read(self, uploads: Sequence[UploadLinks]) -> list[int | None]:
        """Log odds in 64ths, in order; None for an upload without a link. Never raises for what an upload holds."""
        ...


@dataclass(frozen=True, slots=True)
class LinkReader:
    """Reads links with `model`; `web` tells links from other text and cuts hosting providers off."""

    alphabet: Alphabet
    model: LinkModel
    web: WebLinks

    def read(self, uploads: Sequence[UploadLinks]) -> list[int | None]:
        """The log odds of each upload's worst link in 64ths, in order; None for an upload without a link."""
        numbers: dict[LinkText, int] = {}  # a link that many uploads show is read once
        linked = [self._numbered(upload, numbers) for upload in uploads]
        if not numbers:
            return [None] * len(uploads)
        odds = link_log_odds(self.model, self.alphabet, list(numbers))
        whole = np.rint(np.clip(odds * ODDS_STEPS, -MOST_ODDS, MOST_ODDS)).astype(np.int64).tolist()
        return [max(whole[number] for number in mine) if mine else None for mine in linked]

    def _numbered(self, upload: UploadLinks, numbers: dict[LinkText, int]) -> list[int]:
        """The numbers of the upload's links; a new link gets the next one."""
        found = (link_text(link, self.web) for link in self.web.links_in(upload.links, upload.text))
        return [numbers.setdefault(link, len(numbers)) for link in found]
