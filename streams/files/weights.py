"""Reads the two files of a fitted model, the arrays and their description, and refuses other files. A file may be
damaged, cut off, or made to fill the memory. So its stated sizes are bounded before it is unpacked, and no more than
these is unpacked. Any error of a parser means that the file is not a model. No code is loaded.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np

from gate.errors import PolicyInvalid

MOST_BYTES: Final = 1 << 24
"""Most bytes of a model's arrays, unpacked."""
Arrays = Mapping[str, np.ndarray[Any, np.dtype[Any]]]


def read_arrays(file: Path, most_bytes: int = MOST_BYTES) -> Arrays:
    """The arrays in an `.npz` file. Raises OSError, and ValueError for everything else."""
    packed = file.read_bytes() if file.stat().st_size <= most_bytes else b""
    try:
        with zipfile.ZipFile(BytesIO(packed)) as directory:
            size = sum(one.file_size for one in directory.infolist())
        if not size <= most_bytes:
            raise ValueError(f"it unpacks to {size:,} bytes, more than {most_bytes:,}")
        with np.load(BytesIO(packed), allow_pickle=False) as found:
            return {name: found[name] for name in found.files}
    except Exception as error:  # zipfile, zlib, numpy and tokenize raise a dozen kinds for damaged bytes
        raise ValueError(str(error) or type(error).__name__) from None


def read_about(file: Path) -> dict[str, Any]:
    """The description of the arrays. Raises OSError, and ValueError for bytes that are not a JSON object."""
    try:
        said = json.loads(file.read_bytes())
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if not isinstance(said, dict):
        raise ValueError("it is not a JSON object")
    return said


def not_read(error: OSError, file: Path) -> PolicyInvalid:
    """What is raised for a file of a model that the system does not give: the one that `error` names, else `file`."""
    problem = f"cannot be read ({error.strerror}); fit one into this directory, or give --models another one"
    return PolicyInvalid(str(error.filename or file), None, "", problem)


def require_finite(*numbers: float) -> None:
    """Raises ValueError if one of them is infinite or no number: it would be in every score."""
    if not np.isfinite(numbers).all():
        raise ValueError("a model's numbers are finite")
