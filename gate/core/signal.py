"""The closed list of signals. A signal is one named number in [0, 1], computed from an account's history or surroundings."""

from __future__ import annotations

from enum import StrEnum


class Signal(StrEnum):
    """Name of a signal. The part before the dot is its family; the weights of a family share one cap."""

    TEMPO_BURST = "tempo.burst"
    TEMPO_RHYTHM = "tempo.rhythm"
    AGE_FRESH = "age.fresh"
    AGE_FIRST_ACTION = "age.first_action"
    SAMENESS_CONTENT = "sameness.content"
    SAMENESS_TEXT = "sameness.text"
    NETWORK_IP_ACCOUNTS = "network.ip_accounts"
    NETWORK_DEVICE_ACCOUNTS = "network.device_accounts"
    CROWD_CONTENT_ACCOUNTS = "crowd.content_accounts"
    CROWD_LINK_ACCOUNTS = "crowd.link_accounts"
    LINKS_DENSITY = "links.density"
    LINKS_REPEATED = "links.repeated"
    LINKS_SUSPICIOUS = "links.suspicious"
    TEXT_SPAM = "text.spam"
    REPORTS_RATE = "reports.rate"
    CHALLENGE_PASSED = "challenge.passed"
    CHALLENGE_FAILED = "challenge.failed"
    FIELDS_MALFORMED = "fields.malformed"

    @property
    def family(self) -> str:
        """The group whose weights are capped together, such as `tempo`."""
        return self.value.partition(".")[0]

    @property
    def speaks_for(self) -> bool:
        """Whether the signal speaks for the account, so that its weights are 0 or less; the others speak against it."""
        return self is Signal.CHALLENGE_PASSED
