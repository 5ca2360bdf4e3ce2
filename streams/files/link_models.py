"""Reads and writes the link model: `links.npz` holds the weights, `links.json` their hash, provenance and figures."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gate.errors import PolicyInvalid
from streams.core.models.link_model import LinkModel
from streams.files.models import Provenance
from streams.files.weights import read_about, read_arrays, require_finite

NAME: Final = "links"
VERSION: Final = 1


def link_model(
    names: NDArray[np.int16], paths: NDArray[np.int16], scale: float, offset: float, path_bound: float, prior: float
) -> LinkModel:
    """The model with these weights, named by their hash."""
    numbers = np.array([scale, offset, path_bound, prior], "<f8").tobytes()
    weights = np.ascontiguousarray(names, "<i2").tobytes() + np.ascontiguousarray(paths, "<i2").tobytes()
    return LinkModel(names, paths, scale, offset, path_bound, prior, sha256(weights + numbers).hexdigest()[:12])


def write_link_model(model: LinkModel, provenance: Provenance, directory: Path) -> None:
    """Write the model into `directory`, which is created. The same model gives the same bytes."""
    directory.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        directory / f"{NAME}.npz",
        names=model.names,
        paths=model.paths,
        numbers=np.array([model.scale, model.offset, model.path_bound, model.prior]),
    )
    about = {
        "version": VERSION,
        "model": NAME,
        "hash": model.hash,
        "files": dict(provenance.files),
        "seed": provenance.seed,
        "figures": {key: round(value, 4) for key, value in provenance.figures.items()},
    }
    (directory / f"{NAME}.json").write_text(json.dumps(about, indent=1) + "\n")


def read_link_model(directory: Path) -> LinkModel:
    """The model in `directory`. Raises PolicyInvalid if a file is missing, damaged or of another version."""
    weights, about = directory / f"{NAME}.npz", directory / f"{NAME}.json"
    try:
        said, found = read_about(about), read_arrays(weights)
        scale, offset, path_bound, prior = map(float, found["numbers"])
        require_finite(scale, offset, path_bound, prior)
        model = link_model(found["names"], found["paths"], scale, offset, path_bound, prior)
    except OSError as error:
        place = error.filename or weights
        raise PolicyInvalid(str(place), None, "", f"cannot be read ({error.strerror}); fit it again") from None
    except (ValueError, KeyError, TypeError) as error:
        raise PolicyInvalid(str(weights), None, "", f"is not a links model: {error}") from None
    if said.get("version") != VERSION:
        raise PolicyInvalid(str(about), None, "version", f"must be {VERSION}; fit the model again")
    if said.get("hash") != model.hash:
        problem = f"names other weights than {weights.name} holds; fit the model again"
        raise PolicyInvalid(str(about), None, "hash", problem)
    return model
