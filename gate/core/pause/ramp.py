"""Which accounts a pause holds: a share of them, sticky by a salted hash, that falls to none while the pause ramps down.

An account has one position in [0, 1) for each salt, the hash of both. A pause of 10 percent holds the accounts below 0.1.
After its end the bound falls to 0, so the accounts return one after the other, each once, at every gate alike.

The salt is the id of the pause, so that no one can tell beforehand which accounts it will hold, and different pauses
burden different accounts. A pause of a share of the same scope as an earlier one takes over the earlier one's salt
(`sticky_salt`): at 10 percent again it holds the same accounts, and at 30 percent those and others.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

from gate.core.duration import HOUR_US, MINUTE_US
from gate.core.pause.entry import Pause

MAX_RAMP_US: Final = HOUR_US
LONGEST_BY_ITSELF_US: Final = 10 * MINUTE_US
SHORTEST_BY_ITSELF_US: Final = 10_000_000
TURN_US: Final = MINUTE_US
"""A throttle opens and closes for an account by whole turns of this length."""
_TURNS_AHEAD: Final = 120


def position(salt: str, account: str) -> float:
    """The place of an account in [0, 1), the same at every gate."""
    digest = blake2b(account.encode(errors="surrogatepass"), digest_size=4, key=salt.encode()[:64]).digest()
    return int.from_bytes(digest) / (1 << 32)


def sticky_salt(wanted: Pause, known: Iterable[Pause]) -> str:
    """The salt for a new pause: that of the latest other one that held a share of the same scope; empty if there is none."""
    if wanted.percent == 100:
        return ""
    same = [each for each in known if each.percent < 100 and each.scope == wanted.scope and each.id != wanted.id]
    latest = max(same, key=lambda each: (each.rev, each.id), default=None)
    return "" if latest is None else latest.drawn_by


def share(now_us: int, ended_us: int, ramp_us: int) -> float:
    """The share of its accounts that a pause still holds: 1 until its end, 0 after its ramp."""
    if now_us < ended_us:
        return 1.0
    return max(0.0, 1.0 - (now_us - ended_us) / ramp_us) if ramp_us > 0 else 0.0


def returns_at_us(place: float, held: float, ended_us: int, ramp_us: int) -> int:
    """When an account at `place` is let in again, of a pause that holds the accounts below `held`."""
    return ended_us + ramp_us - int(ramp_us * place / held)


def default_ramp_us(in_force_us: int) -> int:
    """The ramp after a pause that was in force so long: a tenth of it, at most 10 minutes, none if that is under 10 s."""
    tenth = min(in_force_us // 10, LONGEST_BY_ITSELF_US) // 1_000_000 * 1_000_000
    return tenth if tenth >= SHORTEST_BY_ITSELF_US else 0


def turn_opens_at_us(salt: str, account: str, factor: float, now_us: int) -> int | None:
    """When a throttle that lets an account upload in a share `factor` of all turns opens for it; None if it is open now.

    Turns are drawn for each account by itself. After 120 closed turns the search ends, and the time of the next one is given.
    """
    turn = now_us // TURN_US
    for ahead in range(_TURNS_AHEAD):
        if position(f"{turn + ahead}:{salt}", account) < factor:
            return (turn + ahead) * TURN_US if ahead else None
        if factor <= 0.0:
            break
    return (turn + _TURNS_AHEAD) * TURN_US
