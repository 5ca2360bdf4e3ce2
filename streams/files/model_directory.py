"""A directory of fitted models → one value with one hash: what a worker scores with.

`upload-gate fit` writes such a directory. It may hold a scorecard (`scorecard.toml`) and models whose numbers are
features, `captions.npz` with `captions.json`, `links.npz` with `links.json` and `names.npz` with `names.json`; at least
one of them.
If it lacks a scorecard, the packaged one is used; a model that it lacks is not used. Without a directory the shipped models
are read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Final

from gate.errors import PolicyInvalid
from streams.core.campaigns import Campaigns
from streams.core.crowd import Crowd
from streams.core.models.alphabet import Alphabet
from streams.core.models.captions import CaptionModel
from streams.core.models.link_model import LinkModel
from streams.core.models.link_odds import LinkReader
from streams.core.models.marks import CaptionReader
from streams.core.models.name_model import NameModel
from streams.core.scorecard import Scorecard
from streams.core.weblinks import WebLinks
from streams.files.link_models import read_link_model
from streams.files.models import read_model, shipped_models
from streams.files.name_models import read_name_model
from streams.files.scorecards import SHIPPED, load_scorecard
from streams.files.weights import not_read

ReadModel = CaptionModel | LinkModel | NameModel
READERS: Final[Mapping[str, Callable[[Path], ReadModel]]] = MappingProxyType(
    {"captions": read_model, "links": read_link_model, "names": read_name_model}
)
"""The models that features come from: the name of their files, and who reads them."""


@dataclass(frozen=True, slots=True)
class Models:
    """The models that scores are made with. `scorecard` carries `hash` into each score; without models it is empty.

    `read` has the models by name.
    """

    scorecard: Scorecard
    hash: str
    read: Mapping[str, ReadModel]

    @property
    def captions(self) -> CaptionModel | None:
        """The model of captions, if there is one."""
        found = self.read.get("captions")
        return found if isinstance(found, CaptionModel) else None

    @property
    def links(self) -> LinkModel | None:
        """The model of links, if there is one."""
        found = self.read.get("links")
        return found if isinstance(found, LinkModel) else None

    @property
    def names(self) -> NameModel | None:
        """The model of the names of sites, if there is one."""
        found = self.read.get("names")
        return found if isinstance(found, NameModel) else None

    def caption_reader(self, alphabet: Alphabet) -> CaptionReader:
        """What reads the numbers of captions for accounts."""
        return CaptionReader(alphabet, self.captions)

    def link_reader(self, alphabet: Alphabet, web: WebLinks) -> LinkReader | None:
        """What reads the log odds of links for accounts; None without a model of links."""
        return None if self.links is None else LinkReader(alphabet, self.links, web)

    def campaigns(self, crowd: Crowd, alphabet: Alphabet, web: WebLinks) -> Campaigns:
        """The campaigns of a crowd; those of names only with a model of names."""
        return Campaigns.by_model(crowd, alphabet, self.names, web)

    def with_shadow(self, shadow: Models) -> Models:
        """The same, with the other scorecard in shadow. Both read the features that these models give."""
        return replace(self, scorecard=replace(self.scorecard, shadow=shadow.scorecard))


def load_models(directory: Path | None, scorecard: Path | None = None) -> Models:
    """The models in `directory`, the shipped ones for None; a `scorecard` that is given replaces the directory's.

    Raises PolicyInvalid if the directory holds none, or one that cannot be read.
    """
    directory = directory or shipped_models()
    if directory is None:
        return Models(load_scorecard(scorecard), "", MappingProxyType({}))
    own, held = directory / SHIPPED, _names(directory)
    read = {name: reader(directory) for name, reader in READERS.items() if held & {f"{name}.npz", f"{name}.json"}}
    if SHIPPED not in held and not read:
        holds = ", ".join([SHIPPED, *(f"{name}.npz" for name in READERS)])
        raise PolicyInvalid(
            str(directory), None, "", f"is not a directory of models: it holds none of {holds}; fit them"
        )
    card = load_scorecard(scorecard or (own if SHIPPED in held else None))
    hash_ = combined({name: model.hash for name, model in read.items()})
    return Models(replace(card, models=hash_), hash_, MappingProxyType(read))


def _names(directory: Path) -> set[str]:
    """The names in the directory, those of links to nothing included: what is not there must not pass for not wanted."""
    try:
        return {path.name for path in directory.iterdir()}
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except OSError as error:
        raise not_read(error, directory) from None


def combined(hashes: Mapping[str, str]) -> str:
    """One hash for models with these hashes by name, empty for none."""
    if not hashes:
        return ""
    return sha256("\n".join(f"{name} {hash_}" for name, hash_ in sorted(hashes.items())).encode()).hexdigest()[:12]
