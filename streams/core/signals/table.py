"""The table of families: which function of the vector of features gives the values of which signals."""

from __future__ import annotations

from streams.core.features import Features
from streams.core.signals import age, challenge, crowd, fields, links, network, reports, sameness, tempo, text


def signals(of: Features) -> tuple[float, ...]:
    """The value of every signal in the order of `Signal`, each in [0, 1], zeros included."""
    return (
        *tempo.read(of),
        *age.read(of),
        *sameness.read(of),
        *network.read(of),
        *crowd.read(of),
        *links.read(of),
        *text.read(of),
        *reports.read(of),
        *challenge.read(of),
        *fields.read(of),
    )
