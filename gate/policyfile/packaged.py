"""The configuration files that the package brings along, in the wheel or in the checkout."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from gate.errors import PolicyInvalid


def packaged_config(name: str) -> tuple[str, str]:
    """Text and name of a config file of the package."""
    place = packaged_file(name)
    if place is None:
        raise PolicyInvalid(name, None, "", "the packaged file is missing; install the package again")
    return place.read_text(encoding="utf-8"), str(place)


def packaged_file(name: str) -> Path | None:
    """A config file of the package in the wheel (`gate/_config`) or the checkout (`config`); None where there is none."""
    package = Path(str(resources.files("gate")))
    places = (package / "_config" / name, package.parent / "config" / name)
    return next((place for place in places if place.is_file()), None)
