"""The caption model and the link model that accounts are fitted with: where they are read, and their copies."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gate.cli.output import say
from gate.errors import OperatorError

if TYPE_CHECKING:
    from streams.core.models.link_odds import LinkReader
    from streams.lab.fit_accounts import Captions

LINK_FEATURES: Final = ("link_odds", "link_odds_high_share")
"""The features that the link model gives accounts."""


@dataclass(frozen=True, slots=True)
class FeatureModels:
    """The models that features come from, and the directories they were read from, None where there is none.

    `link_files` names the files that the link model was fitted to.
    """

    captions: Captions
    captions_from: Path | None
    links: LinkReader | None
    links_from: Path | None
    link_files: tuple[str, ...] = ()

    def left_out(self, files: Collection[str]) -> tuple[str, ...]:
        """The features that must not be fitted to: those of a link model that was fitted to the links of `files`."""
        known = sorted({*files} & {*self.link_files})
        if not known:
            return ()
        say(
            f"the link model was fitted to {', '.join(known)} too, so it would judge these links too well; accounts are "
            "fitted without its log odds. To use them, fit the link model to other rows"
        )
        return LINK_FEATURES

    def copy_to(self, out: Path) -> None:
        """Copy the files of both models into a directory that exists."""
        for source, name in ((self.captions_from, "captions"), (self.links_from, "links")):
            if source is not None and source.resolve() != out.resolve():
                for suffix in ("npz", "json"):
                    shutil.copyfile(source / f"{name}.{suffix}", out / f"{name}.{suffix}")


def feature_models(captions: Path | None, links: Path | None, out: Path) -> FeatureModels:
    """The caption model in `captions`, else that in `out`, else the shipped one; the link model in `links`, else that
    in `captions` or in `out`, else none.

    Raises OperatorError if `links` holds none.
    """
    from streams.files.models import shipped_models

    captions_from = captions or (out if (out / "captions.npz").exists() else shipped_models())
    if links is not None and not (links / "links.npz").exists():
        raise OperatorError(f"--links {links} holds no link model", "fit one with `upload-gate fit links`")
    places = [place for place in (links, captions, out) if place is not None and (place / "links.npz").exists()]
    links_from = places[0] if places else None
    return FeatureModels(
        _captions(captions_from), captions_from, link_reader(links_from), links_from, _files(links_from)
    )


def link_reader(directory: Path | None) -> LinkReader | None:
    """The reader of links with the link model in the directory; None without one."""
    if directory is None:
        return None
    from streams.core.models.alphabet import build_alphabet
    from streams.core.models.link_odds import LinkReader
    from streams.files.link_models import read_link_model
    from streams.files.public_suffixes import load_web_links

    return LinkReader(build_alphabet(), read_link_model(directory), load_web_links())


def _files(links_from: Path | None) -> tuple[str, ...]:
    return () if links_from is None else tuple(json.loads((links_from / "links.json").read_bytes())["files"])


def _captions(directory: Path | None) -> Captions:
    from streams.files.models import read_model, read_sketch
    from streams.lab.fit_accounts import Captions

    if directory is None:
        say("there is no caption model; accounts are fitted without the log odds of their captions")
        return Captions(None)
    return Captions(read_model(directory), read_sketch(directory))
