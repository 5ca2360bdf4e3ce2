"""Reads and writes the link model: `links.npz` holds the weights, `links.json` their hash, provenance and figures."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.core.models.link_model import LinkModel
from streams.files.models import Provenance, about_model, read_named
from streams.files.weights import Arrays, require_finite
from streams.files.whole_files import packed, write_whole

NAME: Final = "links"
VERSION: Final = 2
"""Version 2 of a link model reads names of hosts as they are spelled."""


def link_model(
    names: NDArray[np.int16], paths: NDArray[np.int16], scale: float, offset: float, path_bound: float, prior: float
) -> LinkModel:
    """The model with these weights, named by their hash."""
    numbers = np.array([scale, offset, path_bound, prior], "<f8").tobytes()
    weights = np.ascontiguousarray(names, "<i2").tobytes() + np.ascontiguousarray(paths, "<i2").tobytes()
    return LinkModel(names, paths, scale, offset, path_bound, prior, sha256(weights + numbers).hexdigest()[:12])


def write_link_model(model: LinkModel, provenance: Provenance, directory: Path) -> None:
    """Write the model into `directory`, which is created. The same model gives the same bytes."""
    weights = packed(
        names=model.names,
        paths=model.paths,
        numbers=np.array([model.scale, model.offset, model.path_bound, model.prior]),
    )
    about = about_model(NAME, VERSION, model.hash, provenance, {})
    write_whole(directory, {f"{NAME}.npz": weights, f"{NAME}.json": about})


def read_link_model(directory: Path) -> LinkModel:
    """The model in `directory`. Raises PolicyInvalid if a file is missing, damaged or of another version."""

    def made(found: Arrays) -> LinkModel:
        scale, offset, path_bound, prior = map(float, found["numbers"])
        require_finite(scale, offset, path_bound, prior)
        return link_model(found["names"], found["paths"], scale, offset, path_bound, prior)

    return read_named(directory, NAME, VERSION, made)
