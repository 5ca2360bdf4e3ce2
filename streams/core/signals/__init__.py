"""The families of signals, one file each. A family reads an account's state and surroundings and acts on nothing."""

from streams.core.crowd import Surroundings
from streams.core.scorecard import Found
from streams.core.signals.table import now_us, read

__all__ = ["Found", "Surroundings", "now_us", "read"]
