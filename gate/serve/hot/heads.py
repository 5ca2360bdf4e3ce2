"""Remembers heads of requests byte for byte, so that the parser does not read the same head again.

A client that keeps its connection sends the same head with each check, but for the length of the body. To look it up costs a
fraction of what it costs to parse it. Only a head that the parser has read and the server has let in is remembered, and only
if it leaves no doubt where it ends: it starts with its request line, and all its lines end with CR LF. The same bytes after
the end of a request can then mean nothing else, on any connection.

The app still admits each request, because tokens may change.
"""

from __future__ import annotations

from typing import Final

from gate.serve.hot.exchange import HotRequest

MOST_HEADS: Final = 1_024
MOST_BYTES: Final = 1_024
"""A longer head is not remembered."""
RESTS_FOR: Final = 64 * MOST_HEADS
"""For so many requests no head is looked up, once the heads of a port have turned out not to recur."""
_METHOD: Final = b"POST"
_END: Final = b"\r\n\r\n"


class KnownHeads:
    """The heads of one port. When it is full it forgets all; where each head names its request, it rests."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[int, bytes, dict[bytes, bytes]]] = {}
        """Of each head the length of the body, the target and the headers."""
        self._hits = 0
        self._rest = 0

    def request_in(self, data: bytes) -> HotRequest | None:
        """The request that `data` is, if its head is known and nothing else came with it; it is not admitted yet.

        `data` must begin where a request may begin.
        """
        if self._rest:
            self._rest -= 1
            return None
        end = data.find(_END, 0, MOST_BYTES) + len(_END)
        known = self._known.get(data[:end])
        if known is None:
            return None
        length, target, headers = known
        if len(data) != end + length:
            return None
        self._hits += 1
        request = HotRequest(headers)
        request.method = _METHOD
        request.target = target
        request.body = data[end:]
        return request

    def learn(self, data: bytes, request: HotRequest, length: int) -> None:
        """Remember the head with which `data` begins, from which the parser has read `request`."""
        head = data[: data.find(_END, 0, MOST_BYTES) + len(_END)]
        lines = head.count(b"\r\n")
        if (
            self._rest
            or request.method != _METHOD
            or not head.startswith(_METHOD)
            or not head.endswith(_END)
            or not head.count(b"\n") == head.count(b"\r") == lines
        ):
            return
        if len(self._known) >= MOST_HEADS:
            self._rest = 0 if self._hits > MOST_HEADS else RESTS_FOR
            self._hits = 0
            self._known.clear()
        self._known[head] = length, request.target, request.headers
