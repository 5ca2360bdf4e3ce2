"""Reads and writes model files: the weights of a fitted model, its provenance and its figures.

`captions.npz` holds the weights, `captions.json` their hash, provenance and figures. A model is refused if its weights
do not have the hash in `captions.json`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from gate.errors import PolicyInvalid
from gate.policyfile import packaged_file
from streams.core.models.captions import CaptionModel
from streams.files.weights import Arrays, not_read, read_about, read_arrays, require_finite
from streams.files.whole_files import packed, write_whole

NAME = "captions"
VERSION = 2
"""Version 2 of a caption model has weights for words and pairs of words too."""


class NamedModel(Protocol):
    """A model that a hash of its weights names."""

    @property
    def hash(self) -> str:
        """Twelve hex digits."""
        ...


AnyModel = TypeVar("AnyModel", bound=NamedModel)


@dataclass(frozen=True, slots=True)
class Provenance:
    """The origin of a model: rows by file, the seed, and the figures of cross-validation."""

    files: Mapping[str, int]
    seed: int
    figures: Mapping[str, float]
    sketch: Sequence[int] = ()
    """Hashes of some of the texts it was fitted on, by which a later fit knows them again."""


def caption_model(
    table: np.ndarray[Any, np.dtype[np.int16]], scale: float, offset: float, prior: float
) -> CaptionModel:
    """The model with these weights, named by their hash."""
    return CaptionModel(table, scale, offset, prior, _hash(table, scale, offset, prior))


def write_model(model: CaptionModel, provenance: Provenance, directory: Path) -> None:
    """Write `captions.npz` and `captions.json` into `directory`, which is created. The same model gives the same bytes."""
    weights = packed(
        table=model.table,
        scale=np.float64(model.scale),
        offset=np.float64(model.offset),
        prior=np.float64(model.prior),
    )
    about = about_model(NAME, VERSION, model.hash, provenance, {"sketch": list(provenance.sketch)})
    write_whole(directory, {f"{NAME}.npz": weights, f"{NAME}.json": about})


def about_model(name: str, version: int, hash_: str, provenance: Provenance, further: Mapping[str, object]) -> bytes:
    """The file about the model called `name`: its hash, provenance and figures, and `further` keys."""
    about = {
        "version": version,
        "model": name,
        "hash": hash_,
        "files": dict(provenance.files),
        "seed": provenance.seed,
        "figures": {key: round(value, 4) for key, value in provenance.figures.items()},
        **further,
    }
    return f"{json.dumps(about, indent=1)}\n".encode()


def read_model(directory: Path) -> CaptionModel:
    """The caption model in `directory`. Raises PolicyInvalid if a file is missing, damaged or of another version."""

    def made(found: Arrays) -> CaptionModel:
        numbers = [float(found[key]) for key in ("scale", "offset", "prior")]
        require_finite(*numbers)
        return caption_model(found["table"], *numbers)

    return read_named(directory, NAME, VERSION, made)


def read_named(directory: Path, name: str, version: int, made: Callable[[Arrays], AnyModel]) -> AnyModel:
    """The model that `made` makes of the arrays in `NAME.npz`, if `NAME.json` names its hash and this version.

    Raises PolicyInvalid if a file is missing, damaged or of another version.
    """
    weights, about = directory / f"{name}.npz", directory / f"{name}.json"
    try:
        said, found = read_about(about), read_arrays(weights)
        if said.get("version") != version:
            raise PolicyInvalid(str(about), None, "version", f"must be {version}; fit the model again")
        model = made(found)
    except OSError as error:
        raise not_read(error, weights) from None
    except (ValueError, KeyError, TypeError) as error:
        raise PolicyInvalid(str(weights), None, "", f"is not a {name} model: {error}") from None
    if said.get("hash") != model.hash:
        problem = f"names other weights than {weights.name} holds; fit the model again"
        raise PolicyInvalid(str(about), None, "hash", problem)
    return model


def read_sketch(directory: Path) -> tuple[int, ...]:
    """Hashes of some of the captions that the model in `directory` was fitted on; none if they are not known."""
    try:
        sketch = read_about(directory / f"{NAME}.json").get("sketch", [])
        return tuple(sorted(number for number in sketch if isinstance(number, int)))
    except (OSError, ValueError, TypeError):
        return ()


def shipped_models() -> Path | None:
    """The directory of the shipped models, in the wheel or the checkout; None where none are shipped."""
    weights = packaged_file("models/captions.npz")
    return None if weights is None else weights.parent


def _hash(table: np.ndarray[Any, np.dtype[np.int16]], scale: float, offset: float, prior: float) -> str:
    numbers = np.array([scale, offset, prior], "<f8").tobytes()
    return sha256(np.ascontiguousarray(table, "<i2").tobytes() + numbers).hexdigest()[:12]
