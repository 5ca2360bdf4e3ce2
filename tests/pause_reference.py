"""Which pause holds an upload, the slow and plain way: one pause after the other, each law as a line. Tests compare with it."""

from collections.abc import Iterable, Mapping

from gate.core.account import Account
from gate.core.fields.times import since_epoch_us
from gate.core.media import Media
from gate.core.pause.entry import Pause
from gate.core.pause.index import index_of
from gate.core.pause.index import strictest as strictest_of_index
from gate.core.pause.ramp import TURN_US, position
from gate.core.pause.scope import STRICTNESS, Action, InFlight, PauseMode
from gate.core.request import CheckRequest


def strictest(
    pauses: Mapping[str, Pause] | Iterable[Pause],
    class_: str,
    surface: str | None,
    kind: str | None,
    country: str | None,
    now_us: int,
) -> Pause | None:
    """The answer of the gate's index for an upload with these values."""
    request = CheckRequest("u", Account("a"), Media(kind), surface=surface, country=country)
    each = pauses.values() if isinstance(pauses, Mapping) else pauses
    hit = strictest_of_index(index_of(each, now_us), request, class_, now_us)
    return None if hit is None else hit.pause


def holding(
    pauses: Iterable[Pause], request: CheckRequest, class_: str, now_us: int, risk: float | None = None
) -> Pause | None:
    """The strictest pause that holds the upload; among equally strict ones the one that lasts longest."""
    found = [pause for pause in pauses if holds(pause, request, class_, now_us, risk)]
    return max(found, key=lambda pause: (STRICTNESS[pause.action], pause.expires_at_us, pause.id), default=None)


def holds(pause: Pause, request: CheckRequest, class_: str, now_us: int, risk: float | None = None) -> bool:
    """Whether the pause holds the upload at that time."""
    account = request.account
    classes = {class_, account.class_ or class_}
    age_us = None if account.created_at is None else now_us - since_epoch_us(account.created_at)
    values = (request.surface, request.media.kind, request.country, account.id, age_us, risk)
    if not any(pause.scope.matches(each, *values) for each in classes):
        return False
    exempt = pause.exempt
    if (
        classes & exempt.classes
        or request.surface in exempt.surfaces
        or request.media.kind in exempt.kinds
        or request.country in exempt.countries
        or account.id in exempt.accounts
        or (account.verified and (exempt.verified or pause.action is Action.ALLOW_ONLY))
    ):
        return False
    written_us = pause.set_at_us if pause.starts_at_us is None else pause.starts_at_us
    drains = pause.in_flight is InFlight.DRAIN and written_us is not None
    if drains and request.started_at is not None and since_epoch_us(request.started_at) < (written_us or 0):
        return False
    if pause.active(now_us):
        share = 1.0
    elif pause.ramping(now_us):
        if pause.starts_at_us is not None and (pause.starts_at_us > now_us or pause.ended_at_us <= pause.starts_at_us):
            return False
        share = min(1.0, 1 - (now_us - pause.ended_at_us) / pause.ramp_us)
    else:
        return False
    if position(pause.salt or pause.id, account.id) >= pause.percent / 100 * share:
        return False
    turn = now_us // TURN_US
    return (
        pause.action is not Action.THROTTLE or position(f"{turn}:{pause.salt or pause.id}", account.id) >= pause.factor
    )


def enforced(pauses: Iterable[Pause]) -> list[Pause]:
    return [pause for pause in pauses if pause.mode is PauseMode.ENFORCE]
