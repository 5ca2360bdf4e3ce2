"""What the server and the app of the hot port exchange: requests, the responses to them, and the work in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Generic, Protocol, TypeVar, runtime_checkable

from gate.errors import RequestRejected

Response = tuple[int, bytes, bytes, bytes]
"""Status, body, content type and further lines of the head, each with its end."""

JSON: Final = b"application/json"
TEXT: Final = b"text/plain; charset=utf-8"


class HotRequest:
    """One request, as far as it has arrived. `target` is as the client wrote it; names of headers are in lower case.

    Of a header that comes more than once the first counts. `body` has at most `limit` bytes; parts of it after the first wait
    in `rest` until it is complete. `early` is the response to a request that is refused before its body is read; bytes are
    a whole response.
    """

    target = path = method = body = b""
    limit = 0
    keep_alive = True
    awaits_continue = gone = is_of_1_0 = is_of_several_hosts = False
    rest: bytearray | None = None
    is_reset: Callable[[], bool] | None = None
    """Where the client sends no more: whether it is gone altogether."""
    early: Response | bytes | None = None
    handling: Handling[HotRequest, Response] | None = None
    """The work on this request alone, as far as it has begun."""
    answered: Callable[[HotRequest, Response], None]
    """Gets the request and the response to it."""

    def __init__(self, headers: dict[bytes, bytes] | None = None) -> None:
        self.headers = {} if headers is None else headers

    def is_gone(self) -> bool:
        """Whether the caller went away before the response."""
        return self.gone or (self.is_reset is not None and self.is_reset())

    def is_sound(self, version: str) -> bool:
        """Whether it is certain what the request is and where it ends."""
        headers = self.headers
        coding = headers.get(b"transfer-encoding")
        if coding is not None and (coding.strip().lower() != b"chunked" or version == "1.0"):
            return False
        if b"upgrade" in headers and coding is not None:
            return False  # the parser takes the body for what comes after the upgrade
        if self.is_of_several_hosts:
            return False
        return b"host" in headers if version == "1.1" else version == "1.0"


Requests = TypeVar("Requests")
Responses = TypeVar("Responses")


class Handling(Generic[Requests, Responses]):
    """The work on one request or on some; `answered` gets them and what the work returns. It runs without a task, which
    would take a tenth of the time of a check. Code that needs a task, such as `asyncio.timeout`, makes its own. A future
    with `add_prompt_callback` may go on with the work as soon as it is done.
    """

    __slots__ = ("_answered", "_awaited", "_is_cancelled", "_loop", "_request", "_work")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, request: Requests, work: Coroutine[Any, Any, Responses],
        answered: Callable[[Requests, Responses], None],
    ) -> None:  # fmt: skip
        self._loop = loop
        self._request = request
        self._work = work
        self._answered = answered
        self._awaited: asyncio.Future[Any] | None = None
        self._is_cancelled = False

    def go_on(self, awaited: object = None) -> None:
        """Work until something must be awaited, and then go on when that is there."""
        try:
            if self._is_cancelled:
                next_one = self._work.throw(asyncio.CancelledError())
            else:
                next_one = self._work.send(None)
        except StopIteration as end:
            self._answered(self._end(), end.value)
        except asyncio.CancelledError:
            self._end()
        else:
            self._awaited = next_one
            if next_one is None:  # only the turn of the loop is awaited
                self._loop.call_soon(self.go_on)
            else:
                next_one._asyncio_future_blocking = False  # as a task tells the future that it is awaited
                add_callback = getattr(next_one, "add_prompt_callback", next_one.add_done_callback)
                add_callback(self.go_on)

    def _end(self) -> Requests:
        """Let go of what was worked on, and return it: it refers to this work, and only a collection would free the two."""
        request = self._request
        del self._request
        self._awaited = None
        return request

    def cancel(self) -> None:
        """Raise CancelledError where the work waits. Work that has ended stays as it is."""
        if self._awaited is None or not self._awaited.cancel():
            self._is_cancelled = True


@runtime_checkable
class HotApp(Protocol):
    """An app that `gate.serve.hot.connection` serves."""

    def admit(self, request: HotRequest) -> int:
        """How many bytes the body of `request`, of which the head has arrived, may have. Raises RequestRejected.

        Sets `request.path`.
        """
        ...

    async def respond(self, request: HotRequest) -> Response:
        """The response to a whole request. Raises nothing. It runs in no task."""
        ...

    def refused(self, request: HotRequest, error: RequestRejected) -> Response:
        """The response to a request that is rejected; it also counts it."""
        ...


@runtime_checkable
class GatheringApp(HotApp, Protocol):
    """A HotApp that responds in one piece of work to requests that arrive in one turn of the event loop."""

    gathered: bytes
    """The path of these requests."""

    def respond_to_all(
        self, requests: Sequence[HotRequest]
    ) -> list[tuple[Sequence[HotRequest], Coroutine[Any, Any, Sequence[Response]]]]:
        """The requests in parts, and for each part the work that returns its responses in order. Neither raises."""
        ...
