"""Takes for several checks: waits for room in the store, takes for all at once, and repeats those with an override."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from gate.app.back_pressure import BackPressure
from gate.app.refusing_limits import RefusingLimits
from gate.core.decision import Decision
from gate.core.limits.reservation import Unanswered
from gate.core.limits.take import TakeRequest, TakeResult
from gate.core.policy import Policy
from gate.errors import StoreUnavailable
from gate.ports.takes import TakeStore


class BatchTakes:
    """Takes for batches. If the caller goes away meanwhile, the checks of its batch go to `unanswered`."""

    def __init__(
        self, takes: TakeStore, back_pressure: BackPressure, refusing: RefusingLimits,
        unanswered: Callable[[Unanswered], None],
    ) -> None:  # fmt: skip
        self._takes = takes
        self._back_pressure = back_pressure
        self._refusing = refusing
        self._unanswered = unanswered

    async def answers(
        self, firsts: Sequence[Decision | TakeRequest], policy: Policy, *, waits: bool
    ) -> tuple[Sequence[Decision | TakeRequest], Sequence[TakeResult | Exception | None]]:
        """The request to the store for each check of a batch, in the batch's order, and the store's answer to it.

        If a staff override gives an account the limits of another class, the request has those. The answer is None for a check
        that is decided without the store.

        A batch that `waits` is sent when there is room for it. Raises only CancelledError.
        """
        requests = [first for first in firsts if isinstance(first, TakeRequest)]
        if not requests:
            return firsts, [None] * len(firsts)
        answers = await self._take(requests, policy, waits=waits)
        if len(answers) == len(firsts):
            return requests, answers
        taken = iter(zip(requests, answers, strict=True))
        both = [next(taken) if isinstance(first, TakeRequest) else (first, None) for first in firsts]
        return [first for first, _ in both], [answer for _, answer in both]

    async def _take(
        self, requests: list[TakeRequest], policy: Policy, *, waits: bool
    ) -> Sequence[TakeResult | Exception]:
        if (down := self._takes.down) is not None:
            return [StoreUnavailable(down)] * len(requests)
        room, count = self._back_pressure, len(requests)
        try:
            if not waits:
                return await self._take_now(requests, policy)
            if not room.enter(count):
                await room.wait(count)
            try:
                return await self._take_now(requests, policy)
            finally:
                room.leave(count)
        except Exception as error:
            return [error for _ in requests]
        except asyncio.CancelledError:
            for request in requests:
                self._unanswered(Unanswered(request.account, request.upload_id, request.attempt))
            raise

    async def _take_now(self, requests: list[TakeRequest], policy: Policy) -> Sequence[TakeResult | Exception]:
        """The answers. Replaces the request of an account that has the limits of another class in `requests`."""
        answers = await self._takes.take_many(requests)
        staff = [
            (n, answer.limits_of)
            for n, answer in enumerate(answers)
            if answer.__class__ is TakeResult and answer.limits_of is not None
        ]
        if staff:
            again = [self._refusing.by_override(policy, requests[n], limits_of) for n, limits_of in staff]
            for (n, _), request, answer in zip(staff, again, await self._takes.take_many(again), strict=True):
                requests[n], answers[n] = request, answer
        return answers
