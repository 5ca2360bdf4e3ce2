"""The families of signals, one file each: pure functions of the vector of features."""

from streams.core.signals.table import signals

__all__ = ["signals"]
