"""The figures of a judgement as the commands of models print them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streams.lab.detection_figures import DetectionFigures


def flat(figures: DetectionFigures | None, prefix: str = "") -> dict[str, float]:
    """The figures that are known, by their names with `prefix`."""
    if figures is None:
        return {}
    return {f"{prefix}{name}": value for name, value in asdict(figures).items() if value is not None}


def shown(figure: float | None) -> str:
    """A figure between 0 and 1 for people."""
    return "unknown" if figure is None else f"{figure:.3f}"
