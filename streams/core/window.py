"""Decaying counters in event time: they count recent events without keeping them.

The weight of an event halves with every half-life. A counter is a list of whole numbers, so that it is the same in
whatever order events are counted, to the last bit: the half-life of event time it stands in (counted from 1970), then
the sum of the weights that fell into that half-life, into the one before, and so on. A weight is 1,024 at the start of
a half-life and 2,048 at its end, in 256 steps: within 0.2 % of the exact one. After `KEPT` half-lives an event is
forgotten, when it is worth less than 1 / 128. Nothing counted is an empty list.
"""

from __future__ import annotations

from typing import Final

from gate.core.duration import MINUTE_US

KEPT = 8
"""Half-lives that a counter looks back."""
_ONE = 1 << 10
_STEP_BITS = 8
_STEPS = 1 << _STEP_BITS
_LAST_STEP = _STEPS - 1
_MINUTE_STEP_US = MINUTE_US // _STEPS
"""A step of a half-life of a minute; it is a whole number, and so are those of an hour and a day."""
_WEIGHTS: Final = tuple([round(_ONE * 2.0 ** ((step + 0.5) / _STEPS)) for step in range(_STEPS)])

Counter = list[int]


def decayed(count: float, elapsed_us: int, half_life_us: int) -> float:
    """`count` after `elapsed_us` (0 or more) µs."""
    worth: float = 2.0 ** (-elapsed_us / half_life_us)
    return count * worth


def count_one(counter: Counter, at_us: int, half_life_us: int) -> None:
    """Count one event at `at_us` in `counter`, in place."""
    place, part = divmod(at_us, half_life_us)
    _count(counter, place, _WEIGHTS[part * _STEPS // half_life_us])


def count_upload(minute: Counter, hour: Counter, day: Counter, at_us: int) -> None:
    """Count one event in counters with these three half-lives: the same as three `count_one`, at less cost."""
    step = at_us // _MINUTE_STEP_US  # written out three times, as it runs for every upload
    place, weight = step >> _STEP_BITS, _WEIGHTS[step & _LAST_STEP]
    if not minute:
        minute += (place, weight)
    elif minute[0] == place:
        minute[1] += weight
    else:
        _count(minute, place, weight)
    step //= 60
    place, weight = step >> _STEP_BITS, _WEIGHTS[step & _LAST_STEP]
    if not hour:
        hour += (place, weight)
    elif hour[0] == place:
        hour[1] += weight
    else:
        _count(hour, place, weight)
    step //= 24
    place, weight = step >> _STEP_BITS, _WEIGHTS[step & _LAST_STEP]
    if not day:
        day += (place, weight)
    elif day[0] == place:
        day[1] += weight
    else:
        _count(day, place, weight)


def _count(counter: Counter, place: int, weight: int) -> None:
    if not counter:
        counter += (place, weight)
        return
    ahead = place - counter[0]
    if not ahead:
        counter[1] += weight
    elif ahead >= KEPT:
        counter[:] = (place, weight)
    elif ahead > 0:
        counter[0] = place
        counter[1:1] = [weight] + [0] * (ahead - 1)
        del counter[KEPT + 1 :]
        while not counter[-1]:
            del counter[-1]
    elif -ahead < KEPT:
        counter += [0] * (2 - ahead - len(counter))
        counter[1 - ahead] += weight


def value(counter: Counter, at_us: int, half_life_us: int) -> float:
    """The counter's value at `at_us`, which is not before the last counted event."""
    if not counter:
        return 0.0
    worth: float = 2.0 ** (counter[0] - at_us / half_life_us) / _ONE
    lanes = len(counter)
    if lanes == 2:
        return counter[1] * worth
    if lanes == 3:
        return (counter[2] * 0.5 + counter[1]) * worth
    total = 0.0
    for lane in counter[:0:-1]:
        total = total * 0.5 + lane
    return total * worth


def counter_of(count: float, at_us: int, half_life_us: int) -> Counter:
    """A counter with the value `count` at `at_us`."""
    place, part = divmod(at_us, half_life_us)
    weight = round(count * _ONE * 2.0 ** (part / half_life_us))
    return [place, weight] if weight > 0 else []
