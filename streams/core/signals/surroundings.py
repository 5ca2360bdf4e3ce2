"""The list that families append to. What is around an account is `streams.core.crowd`'s to count."""

from __future__ import annotations

from streams.core.crowd import Surroundings

__all__ = ["Found", "Surroundings"]

Found = list[tuple[str, float]]
"""Signals above 0 by name, with their values in (0, 1]; those of one family stand together."""
