"""Remembers heads of requests byte for byte, so that the parser does not read the same head again.

A client that keeps its connection sends the same head with each check, but for the length of the body. To look it up costs a
fraction of what it costs to parse it. Only a head that the parser has read and the server has let in is remembered, and only
if it leaves no doubt where it ends: it starts with its request line, and all its lines end with CR LF. The same bytes after
the end of a request can then mean nothing else, on any connection.

Batches seldom have the same length twice. Of such a head the bytes around the length are remembered: what comes between them
again, in digits, is the length.

The app still admits each request, because tokens may change.
"""

from __future__ import annotations

import re
from typing import Final

from gate.serve.hot.exchange import HotRequest

MOST_HEADS: Final = 1_024
MOST_BYTES: Final = 1_024
"""A longer head is not remembered."""
MOST_BODY_BYTES: Final = 4_096
"""Bodies of checks are shorter, those of batches longer."""
RESTS_FOR: Final = 64 * MOST_HEADS
"""For so many requests no head is looked up, once the heads of a port have turned out not to recur."""
_METHOD: Final = b"POST"
_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length"
_ANY_LENGTH: Final = re.compile(rb"\r\n(?i:content-length): ?(?=[1-9][0-9]{0,8}\r\n)")
"""What stands before a length as most clients write it; the others' heads are not remembered."""
MOST_DIGITS: Final = 9
_ZERO: Final = ord("0")
MOST_SPELLINGS: Final = 8
"""Spellings of what stands before a length that are tried."""


class KnownHeads:
    """The heads of one port. When it is full it forgets all; where each head names its request, it rests.

    The head of a body that is longer than `exact_up_to` bytes is remembered without its length.
    """

    def __init__(self, exact_up_to: int = MOST_BODY_BYTES) -> None:
        self._exact_up_to = exact_up_to
        self._known: dict[bytes, tuple[int, bytes, dict[bytes, bytes]]] = {}
        """Of each head the length of the body, the target and the headers."""
        self._of_batches: dict[bytes, tuple[bytes, dict[bytes, bytes]]] = {}
        """Of each head without its length the target and the headers. The same bytes with no length at all are another head."""
        self._before_length: list[bytes] = []
        """What stands before the length in the heads that are kept without theirs."""
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
            known = self._of_any_length(data, end)
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

    def _of_any_length(self, data: bytes, end: int) -> tuple[int, bytes, dict[bytes, bytes]] | None:
        """What is known of the head that ends at `end`, by the bytes around its length."""
        for before in self._before_length:
            at = data.find(before, 0, end)
            if at < 0:
                continue
            at += len(before)
            after = data.find(b"\r", at, end)
            known = self._of_batches.get(data[:at] + data[after:end])
            digits = data[at:after]
            if known is not None and digits.isdigit() and digits[0] != _ZERO and len(digits) <= MOST_DIGITS:
                return int(digits), known[0], {**known[1], _LENGTH: digits}
        return None

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
        before = None
        if length > self._exact_up_to and (before := self._before(head)) is None:
            return
        if len(self._known) + len(self._of_batches) >= MOST_HEADS:
            self._rest = 0 if self._hits > MOST_HEADS else RESTS_FOR
            self._hits = 0
            self._known.clear()
            self._of_batches.clear()
        if before is None:
            self._known[head] = length, request.target, request.headers
        else:
            self._of_batches[before + head[head.find(b"\r", len(before)) :]] = request.target, request.headers

    def _before(self, head: bytes) -> bytes | None:
        """The bytes of a head before its length, None where they are not written in one of the spellings that are tried."""
        found = _ANY_LENGTH.search(head)
        if found is None:
            return None
        if found[0] not in self._before_length:
            if len(self._before_length) >= MOST_SPELLINGS:
                return None
            self._before_length.append(found[0])
        return head[: found.end()]
