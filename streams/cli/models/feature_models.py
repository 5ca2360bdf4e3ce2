"""The models of captions, links and names that accounts are fitted with: where they are read, and their copies."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gate.cli.output import say
from gate.errors import OperatorError

if TYPE_CHECKING:
    from streams.core.models.link_odds import LinkReader
    from streams.core.models.name_model import NameModel
    from streams.lab.fit_accounts import Captions

LINK_FEATURES: Final = ("link_odds", "link_odds_high_share")
"""The features that the link model gives accounts."""
NAME_FEATURES: Final = ("name_odds",)
"""The features that the name model gives accounts and that are fitted to."""


@dataclass(frozen=True, slots=True)
class FeatureModels:
    """The models that features come from, and the directories they were read from, None where there is none.

    `link_files` and `name_files` name the files that the link model and the name model were fitted to.
    """

    captions: Captions
    captions_from: Path | None
    links: LinkReader | None
    links_from: Path | None
    names: NameModel | None
    names_from: Path | None
    link_files: tuple[str, ...] = ()
    name_files: tuple[str, ...] = ()

    def left_out(self, files: Collection[str]) -> tuple[str, ...]:
        """The features that must not be fitted to: those of models that were fitted to the links of `files`."""
        left_out: tuple[str, ...] = ()
        for model, fitted_to, features in (
            ("link model", self.link_files, LINK_FEATURES),
            ("name model", self.name_files, NAME_FEATURES),
        ):
            known = sorted({*files} & {*fitted_to})
            if known:
                say(
                    f"the {model} was fitted to {', '.join(known)} too, so it would judge these links too well; accounts are "
                    f"fitted without its log odds. To use them, fit the {model} to other rows"
                )
                left_out += features
        return left_out

    def copy_to(self, out: Path) -> None:
        """Copy the files of the models into a directory that exists."""
        from streams.files.whole_files import write_whole

        sources = ((self.captions_from, "captions"), (self.links_from, "links"), (self.names_from, "names"))
        for source, name in sources:
            if source is not None and source.resolve() != out.resolve():
                files = (f"{name}.npz", f"{name}.json")
                write_whole(out, {file: (source / file).read_bytes() for file in files})


def feature_models(captions: Path | None, links: Path | None, out: Path) -> FeatureModels:
    """The caption model in `captions`, else that in `out`, else the shipped one; the link model and the name model in
    `links`, else those in `captions` or in `out`, else none.

    Raises OperatorError if `links` holds no link model.
    """
    from streams.files.models import shipped_models
    from streams.files.name_models import read_name_model

    captions_from = captions or (out if (out / "captions.npz").exists() else shipped_models())
    if links is not None and not (links / "links.npz").exists():
        raise OperatorError(f"--links {links} holds no link model", "fit one with `upload-gate fit links`")
    places = [place for place in (links, captions, out) if place is not None]
    links_from, names_from = _first(places, "links"), _first(places, "names")
    return FeatureModels(
        _captions(captions_from),
        captions_from,
        link_reader(links_from),
        links_from,
        None if names_from is None else read_name_model(names_from),
        names_from,
        _files(links_from, "links"),
        _files(names_from, "names"),
    )


def _first(places: Sequence[Path], name: str) -> Path | None:
    """The first of the directories that holds this model."""
    return next((place for place in places if (place / f"{name}.npz").exists()), None)


def link_reader(directory: Path | None) -> LinkReader | None:
    """The reader of links with the link model in the directory; None without one."""
    if directory is None:
        return None
    from streams.core.models.alphabet import build_alphabet
    from streams.core.models.link_odds import LinkReader
    from streams.files.link_models import read_link_model
    from streams.files.public_suffixes import load_web_links

    return LinkReader(build_alphabet(), read_link_model(directory), load_web_links())


def _files(place: Path | None, name: str) -> tuple[str, ...]:
    return () if place is None else tuple(json.loads((place / f"{name}.json").read_bytes())["files"])


def _captions(directory: Path | None) -> Captions:
    from streams.files.models import read_model, read_sketch
    from streams.lab.fit_accounts import Captions

    if directory is None:
        say("there is no caption model; accounts are fitted without the log odds of their captions")
        return Captions(None)
    return Captions(read_model(directory), read_sketch(directory))
