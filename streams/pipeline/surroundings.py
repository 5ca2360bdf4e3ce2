"""Looks up in the crowd what is known of an account's surroundings."""

from __future__ import annotations

from streams.core.crowd import Crowd, Surroundings
from streams.core.facts import Facts
from streams.core.features import recent


def surroundings(crowd: Crowd, facts: Facts) -> Surroundings:
    """What is known of the account's networks and devices of the last days, its last content and its last link host.

    Of several networks or devices the one that most accounts share counts.
    """
    networks, devices = recent(facts.networks, facts.latest_us), recent(facts.devices, facts.latest_us)
    return crowd.around(networks, devices, facts.content, facts.host)
