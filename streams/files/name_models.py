"""Reads and writes the name model: `names.npz` holds the words, `names.json` their hash and provenance."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Final

import numpy as np

from streams.core.models.name_model import NameModel
from streams.files.models import Provenance, about_model, read_named
from streams.files.weights import Arrays, require_finite
from streams.files.whole_files import packed, write_whole

NAME: Final = "names"
VERSION: Final = 1


def name_model(common: bytes, names: int, weight: float) -> NameModel:
    """The model with these words, named by their hash."""
    numbers = np.array([names, weight], "<f8").tobytes()
    return NameModel(common, names, weight, sha256(common + numbers).hexdigest()[:12])


def write_name_model(model: NameModel, provenance: Provenance, directory: Path) -> None:
    """Write the model into `directory`, which is created. The same model gives the same bytes."""
    weights = packed(
        common=np.frombuffer(model.common, np.uint8),
        names=np.int64(model.names),
        weight=np.float64(model.weight),
    )
    about = about_model(NAME, VERSION, model.hash, provenance, {})
    write_whole(directory, {f"{NAME}.npz": weights, f"{NAME}.json": about})


def read_name_model(directory: Path) -> NameModel:
    """The model in `directory`. Raises PolicyInvalid if a file is missing, damaged or of another version."""

    def made(found: Arrays) -> NameModel:
        names, weight = float(found["names"]), float(found["weight"])
        require_finite(names, weight)
        return name_model(found["common"].astype(np.uint8, casting="safe").tobytes(), int(names), weight)

    return read_named(directory, NAME, VERSION, made)
