"""How a take is answered: the model that the store in memory runs and that the script in Redis must agree with.

In order: an account whose standing refuses it takes nothing. An account whose limits staff have changed takes by those. An
upload that was answered before gets the same answer, or a conflict if its content differs; but a refusal is not repeated where
staff let the account in or changed its limits. Any other upload takes from all its buckets or from none.
"""

from __future__ import annotations

from msgspec.structs import replace

from gate.core.limits.gcra import Flights, Tats, Took, take_reserved
from gate.core.limits.reservation import Reservation, ReservationState
from gate.core.limits.take import RefusedByHot, TakeRequest, TakeResult
from gate.core.standing import Standing


def answered(
    request: TakeRequest, standing: Standing, known: Reservation | None, tats: Tats, flights: Flights, now_us: int
) -> tuple[TakeResult, Reservation | None]:
    """The answer, and the reservation to keep where it is new or has changed. Changes `tats` and `flights` in place.

    `known` is what is kept of the upload, None where nothing is.
    """
    limits = request.class_limits
    if limits.refuse(standing, now_us):
        return TakeResult(standing, False, False, None, (), now_us), None
    staff = standing.limits_of(now_us)
    if staff is not None and staff != limits.name and not request.keep_limits:
        return TakeResult(standing, False, False, None, (), now_us, limits_of=staff), None
    what = request.fingerprint
    never_refuse = standing.override_in_force(now_us) is not None
    is_changed = request.judges_anew or never_refuse or staff is not None
    if known is not None and known.answers(now_us) and not (is_changed and known.refusal is not None):
        return _repeated(request, known, what, standing, now_us)
    is_anew = known is not None and (known.is_anew or known.state is not ReservationState.REFUSED)
    until_us = now_us + limits.lifetime_us
    taken = take_reserved(tats, flights, request.buckets, request.size, now_us, until_us, never_refuse=never_refuse)
    refusal = taken.refusal
    result = TakeResult(standing, refusal is None, False, refusal, taken.shadow, now_us, taken.room)
    if refusal is None:
        kept = replace(standing, half_life_us=0, hot=None)
        state, attempt = ReservationState.OPEN, request.attempt
        took = (*taken.took, *_leased(request)) if limits.leased else taken.took
        return result, Reservation(
            what, state, attempt, now_us, until_us, kept, taken.shadow, took, None, limits.returns, is_anew=is_anew
        )
    if refusal.retry_after_us is None:
        return result, None
    until_us, refused = now_us + refusal.retry_after_us, ReservationState.REFUSED
    return result, Reservation(what, refused, request.attempt, now_us, until_us, refusal=refusal, is_anew=is_anew)


def _leased(request: TakeRequest) -> tuple[Took, ...]:
    """The tokens that the upload got from leases of the gate."""
    return tuple(
        Took(each.entity, limit.name, limit.cost_us(request.size), limit.rate if limit.by_bytes else None, leased=True)
        for each in request.class_limits.leased
        for limit in each.limits.limits
    )


def _repeated(
    request: TakeRequest, known: Reservation, what: str, standing: Standing, now_us: int
) -> tuple[TakeResult, Reservation | None]:
    """The answer to a check of an upload that was answered before."""
    if known.what != what:
        return TakeResult(standing, False, False, None, (), now_us, conflict=True), None
    if known.refusal is not None:
        refusal = replace(known.refusal, retry_after_us=known.until_us - now_us)
        return TakeResult(standing, False, False, refusal, (), now_us), None
    again = known.held_by(request.attempt)  # notes this check as a holder, so that no gate takes the answer back alone
    # an upload that a hot fact has sent to review is sent there again, and one that was let in is never refused by it
    hot = standing.hot if request.class_limits.refused_by(standing.hot) is RefusedByHot.NOBODY else None
    recorded = replace(known.standing, override=standing.override, hot=hot)
    resent = known.attempt == request.attempt != 0
    return TakeResult(recorded, True, True, None, known.shadow, known.began_us, resent=resent), again
