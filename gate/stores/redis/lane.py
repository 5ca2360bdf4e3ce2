"""What the batcher sends its batches over: a connection to the server that carries one call at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar, runtime_checkable

R = TypeVar("R")
A_contra = TypeVar("A_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)


class Lane(Protocol[A_contra, R_co]):
    """A connection to the server that carries one call at a time."""

    async def call(self, items: Sequence[A_contra], within_s: float) -> Sequence[R_co | Exception]:
        """One answer or error for each item, in order. Raises StoreUnavailable if the server does not answer."""
        ...

    async def probe(self, within_s: float) -> None:
        """Return if the server does the work of a call for a probe. Raises StoreUnavailable."""
        ...


Ended = Sequence[R | Exception] | Callable[[], Awaitable[Sequence[R | Exception]]]
"""How a call ended that was begun: its answers, or the work that is left until there are some."""


@runtime_checkable
class PromptLane(Lane[A_contra, R_co], Protocol[A_contra, R_co]):
    """A lane that can send and read a call in the turns of the event loop in which it is due, without a task."""

    def begin(self, items: Sequence[A_contra], until_s: float, ended: Callable[[Ended[R_co]], None]) -> bool:
        """Send a call and have `ended` called once. False, or an exception, where `call` has to carry it out."""
        ...
