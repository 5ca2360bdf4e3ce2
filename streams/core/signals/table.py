"""The table of families: which function of the vector of features gives the values of which signals."""

from __future__ import annotations

from streams.core.features import Features
from streams.core.signals import age, challenge, crowd, fields, links, network, reports, sameness, tempo, text

_ONE, _TWO, _THREE = (0.0,), (0.0, 0.0), (0.0, 0.0, 0.0)


def signals(of: Features) -> tuple[float, ...]:
    """The value of every signal in the order of `Signal`, each in [0, 1], zeros included.

    A family whose features are all 0 has only zeros and is not called, which is true of most families and accounts.
    """
    return (
        *tempo.read(of),
        *age.read(of),
        *sameness.read(of),
        *(network.read(of) if of.ip_accounts > 1 or of.device_accounts > 1 else _TWO),
        *(crowd.read(of) if of.content_accounts > 1 or of.link_accounts > 1 else _TWO),
        *(links.read(of) if of.linked else _THREE),
        *text.read(of),
        *(reports.read(of) if of.reporters or of.removals else _ONE),
        *(challenge.read(of) if of.passed or of.failed else _TWO),
        *(fields.read(of) if of.malformed else _ONE),
    )
