"""A gate's estimate of the store's clock, by which pauses begin and end.

The best estimate comes from calls of the store. Before the first call a gate falls back on what it has, in this order: the
mark of the last run in the snapshot if the machine has not restarted since, the broker's clock of the second channel, any
other mark, and its host's own clock.

A mark of the same boot of the machine gives the store's time exactly, whatever was done to the host's clock meanwhile. A
mark of another boot says only that it is at least so late: pauses then end by that time, so that each lasts at least for
what was left of it, and begin by the host's clock as it was ahead of the store's then, so that none begins late.

The broker's clock may be far from the store's. It is corrected by the difference that this gate has measured, in this run
or the last one, else by what other gates say of it; and it is never believed below the mark.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import Final

from gate.ports.clock import Clock, ClockMark, Uptime

CLOCK_MOVED_US: Final = 20_000
SAMPLED_WITHIN_US: Final = 5_000
"""Two clocks that were read further apart are not compared: the process did not run in between."""
COMPARED_WITHIN_US: Final = 500_000
"""The most that a call may leave uncertain by which the second channel's clock is compared with the store's."""
_SAMPLES: Final = 8


@dataclass(frozen=True, slots=True)
class ClockSample:
    """How far this process's clock is ahead of the store's, in µs, and the error bound: half the time of the call."""

    ahead_us: int
    accuracy_us: int


AGREES: Final = ClockSample(0, 0)


class StoreClock:
    """The most accurate of the last samples, else a fallback.

    A sample that contradicts the estimate means that a clock was set, so the earlier samples are dropped. `steps` tells when
    the host's own clock was set.
    """

    def __init__(self, steps: ClockSteps | None = None) -> None:
        self._steps = steps
        self._samples: deque[ClockSample] = deque(maxlen=_SAMPLES)
        self._elsewhere: ClockSample | None = None
        self._marked: ClockSample | None = None
        self._begins_ahead_us: int | None = None
        self._is_lower_bound = False
        self.elsewhere_ahead_us: int | None = None
        """How far the second channel's clock is ahead of the store's, as measured; None where it was not."""

    @property
    def known(self) -> bool:
        """True once the store has told its time."""
        return bool(self._samples)

    @property
    def has_basis(self) -> bool:
        """True if the estimate comes from anything but the host's own clock."""
        return self.known or self._elsewhere is not None or self._marked is not None

    @property
    def is_lower_bound(self) -> bool:
        """True while the store's time may be later than estimated, by how long the machine was down."""
        return not self.known and self._is_lower_bound and not self._believes_elsewhere

    @property
    def _believes_elsewhere(self) -> bool:
        if self._elsewhere is None or self._marked is None:
            return self._elsewhere is not None
        return self._is_lower_bound and self._elsewhere.ahead_us <= self._marked.ahead_us

    @property
    def best(self) -> ClockSample:
        """The most accurate sample. Without any basis both clocks are assumed to agree."""
        if self._samples:
            return min(self._samples, key=lambda sample: sample.accuracy_us)
        return (self._elsewhere if self._believes_elsewhere else self._marked) or AGREES

    @property
    def begins_ahead_us(self) -> int:
        """How far the host's clock is ahead for the start of a scheduled pause: never more than for its end."""
        best_us = self.best.ahead_us
        is_fallback = self.is_lower_bound and self._begins_ahead_us is not None
        return min(best_us, self._begins_ahead_us or 0) if is_fallback else best_us

    def learn(self, store_us: int, before_us: int, after_us: int) -> None:
        """Add a sample: the store returned `store_us` in a call between `before_us` and `after_us` of our clock."""
        self.follow_steps()
        sample = _sample(store_us, before_us, after_us)
        known = self.best
        if self._samples and abs(sample.ahead_us - known.ahead_us) > sample.accuracy_us + known.accuracy_us:
            self._samples.clear()
        self._samples.append(sample)

    def learn_elsewhere(self, channel_us: int, before_us: int, after_us: int, others_say_us: int = 0) -> None:
        """Note the clock of the second channel, which counts until the store has told its time.

        `others_say_us` is how far it is ahead of the store's clock by what other gates say.
        """
        self.follow_steps()
        sample = _sample(channel_us, before_us, after_us)
        if self.known and sample.accuracy_us <= COMPARED_WITHIN_US:
            self.elsewhere_ahead_us = self.best.ahead_us - sample.ahead_us
        apart_us = others_say_us if self.elsewhere_ahead_us is None else self.elsewhere_ahead_us
        self._elsewhere = replace(sample, ahead_us=sample.ahead_us + apart_us)

    def start_from(self, mark: ClockMark, now_us: int, uptime: Uptime) -> None:
        """Fall back on the mark of the last run until a channel tells its time."""
        passed_us = uptime.elapsed_us() - mark.elapsed_us
        same_boot = bool(mark.boot) and mark.boot == uptime.boot and passed_us >= 0
        store_us = mark.store_us + (passed_us if same_boot else 0)
        self._marked = ClockSample(now_us - store_us, 0)
        self._is_lower_bound = not same_boot
        self._begins_ahead_us = mark.ahead_us
        self.elsewhere_ahead_us = mark.elsewhere_ahead_us

    def follow_steps(self) -> bool:
        """Keep the estimate where the host's clock was set; tells whether it was.

        It comes before each new sample, which has the step in it already: the step would be counted twice.
        """
        by_us = 0 if self._steps is None else self._steps.stepped_us()
        if by_us:
            self.step(by_us)
        return by_us != 0

    def step(self, by_us: int) -> None:
        """Follow a step of the host's own clock."""
        self._samples = deque(
            (replace(each, ahead_us=each.ahead_us + by_us) for each in self._samples), maxlen=_SAMPLES
        )
        self._elsewhere = _stepped(self._elsewhere, by_us)
        self._marked = _stepped(self._marked, by_us)
        if self._begins_ahead_us is not None:
            self._begins_ahead_us += by_us


class ClockSteps:
    """Notices when the host's clock is set: it then moves against the uptime."""

    def __init__(self, clock: Clock, uptime: Uptime) -> None:
        self._clock = clock
        self._uptime = uptime
        self._apart_us: int | None = None

    def stepped_us(self) -> int:
        """By how much the clock was set since the last call; 0 if it was not."""
        before_us = self._uptime.elapsed_us()
        now_us = self._clock.now_us()
        if self._uptime.elapsed_us() - before_us > SAMPLED_WITHIN_US:
            return 0
        apart_us = now_us - before_us
        known_us, moved_us = self._apart_us, 0
        if known_us is None or abs(apart_us - known_us) > CLOCK_MOVED_US:
            moved_us = 0 if known_us is None else apart_us - known_us
            self._apart_us = apart_us
        return moved_us


def _sample(store_us: int, before_us: int, after_us: int) -> ClockSample:
    between_us = after_us - before_us  # it is negative where the clock was set back in between
    return ClockSample(before_us + between_us // 2 - store_us, abs(between_us) // 2)


def _stepped(sample: ClockSample | None, by_us: int) -> ClockSample | None:
    return None if sample is None else replace(sample, ahead_us=sample.ahead_us + by_us)
