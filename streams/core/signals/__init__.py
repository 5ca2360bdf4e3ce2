"""The families of signals, one file each. A family reads an account's state and surroundings and acts on nothing."""

from streams.core.signals.surroundings import Surroundings
from streams.core.signals.table import FAMILIES, read

__all__ = ["FAMILIES", "Surroundings", "read"]
