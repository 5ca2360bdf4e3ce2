"""The families of signals, one file each: functions of the vector of features, which act on nothing."""

from streams.core.signals.table import signals

__all__ = ["signals"]
