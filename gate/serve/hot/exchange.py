"""The values that the server and the app of the hot port exchange: a request, and the response to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol, runtime_checkable

from gate.errors import RequestRejected

Header = tuple[bytes, bytes]
Response = tuple[int, bytes, bytes, Sequence[Header]]
"""Status, body, content type and further headers."""

JSON: Final = b"application/json"
TEXT: Final = b"text/plain; charset=utf-8"


class HotRequest:
    """One request, as far as it has arrived. `target` is as the client wrote it; names of headers are in lower case.

    Of a header that comes more than once the first counts. `body` has at most `limit` bytes; parts of it after the first wait
    in `rest` until it is complete. `early` is the response to a request that is refused before its body is read; bytes are
    a whole response.
    """

    target = path = method = body = b""
    hosts = limit = 0
    keep_alive = True
    awaits_continue = gone = is_of_1_0 = False
    rest: bytearray | None = None
    is_reset: Callable[[], bool] | None = None
    """Where the client sends no more: whether it is gone altogether."""
    early: Response | bytes | None = None

    def __init__(self) -> None:
        self.headers: dict[bytes, bytes] = {}

    def is_gone(self) -> bool:
        """Whether the caller went away before the response."""
        return self.gone or (self.is_reset is not None and self.is_reset())


@runtime_checkable
class HotApp(Protocol):
    """What `gate.serve.hot.connection` serves."""

    def admit(self, request: HotRequest) -> int:
        """How many bytes the body of `request`, of which the head has arrived, may have. Raises RequestRejected.

        Sets `request.path`.
        """
        ...

    async def respond(self, request: HotRequest) -> Response:
        """The response to a whole request. Raises nothing."""
        ...

    def refused(self, request: HotRequest, error: RequestRejected) -> Response:
        """The response to a request that is rejected; it also counts it."""
        ...
