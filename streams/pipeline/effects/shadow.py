"""How the scores of models in shadow differ from the scores beside them, as increments of `upload_gate_shadow_*`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from gate.ports.scores import EncodedScore
from streams.pipeline.effects.part import Increment

LEVELS: Final = (0.5, 0.7, 0.85)
"""Risks at which it counts that one of two scores is below and the other is not."""
BANDS: Final = ("0.01", "0.05", "0.2", "1")
"""How far the risks of two scores are apart, at most."""


def shadow_increments(scores: Sequence[EncodedScore]) -> Iterable[Increment]:
    """The increments for those of the scores that carry one in shadow."""
    pairs = [(score.risk, score.shadow.risk) for score, _ in scores if score.shadow is not None]
    if not pairs:
        return
    counts: Counter[tuple[str, tuple[str, ...]]] = Counter()
    for risk, shadow in pairs:
        apart = abs(risk - shadow)
        band = next(band for band in BANDS if apart <= float(band))
        counts["upload_gate_shadow_scores", (band,)] += 1
        for level in LEVELS:
            if (risk >= level) != (shadow >= level):
                side = "live" if risk >= level else "shadow"
                counts["upload_gate_shadow_disagreements", (f"{level:g}", side)] += 1
    for (metric, labels), count in counts.items():
        yield Increment(metric, labels, count)
