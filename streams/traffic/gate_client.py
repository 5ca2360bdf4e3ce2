"""A client of `/v1/checks`: one kept-alive connection, small batches, a deadline on each call.

It speaks plain HTTP/1.1 over asyncio streams; a gate's answers always carry a length. The caller decides what to do
without an answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from http import HTTPStatus
from urllib.parse import urlsplit

import msgspec

from gate.core.request import CheckRequest

DEADLINE_S = 2.0
MAX_ANSWER_BYTES = 4 << 20


class GateUnreachable(Exception):
    """The gate did not answer in time, or its answer holds no decisions."""


class _Answer(msgspec.Struct):
    decision: str


class _Answers(msgspec.Struct):
    decisions: list[_Answer]


class _Checks(msgspec.Struct):
    checks: Sequence[CheckRequest]


class GateClient:
    """A client of one gate at `url`. Not for concurrent use; its owner closes it.

    `token` returns the service token that the gate asks for, None where it asks for none. It is called again when the gate
    refuses the last one.
    """

    def __init__(self, url: str, token: Callable[[], str | None] = lambda: None) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port or 80
        self._token = token
        self._held = token()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._encoder = msgspec.json.Encoder()
        self._decoder = msgspec.json.Decoder(_Answers)

    async def check_many(self, requests: Sequence[CheckRequest]) -> list[str]:
        """The decisions on `requests`, in their order. Raises GateUnreachable."""
        body = self._encoder.encode(_Checks(requests))
        try:
            async with asyncio.timeout(DEADLINE_S):
                status, answer = await self._call(body)
        except (OSError, EOFError, ValueError, TimeoutError) as error:
            self._drop()
            raise GateUnreachable(f"the gate does not answer: {_reason(error)}") from None
        except asyncio.CancelledError:
            self._drop()
            raise
        if status == HTTPStatus.UNAUTHORIZED:
            had, self._held = self._held, self._token()
            sent = "their token is not valid" if had else "they carry no token, which UPLOAD_GATE_TOKEN would give"
            raise GateUnreachable(f"the gate refuses the checks (401): {sent}")
        if status != 200:
            raise GateUnreachable(f"the gate answered {status}: {answer[:200].decode(errors='replace')}")
        try:
            decisions = [each.decision for each in self._decoder.decode(answer).decisions]
        except msgspec.MsgspecError as error:
            raise GateUnreachable(f"the gate answered something else: {error}") from None
        if len(decisions) != len(requests):
            raise GateUnreachable(f"the gate answered {len(decisions)} of {len(requests)} checks")
        return decisions

    async def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            writer = self._streams[1]
            self._drop()
            try:
                await writer.wait_closed()
            except OSError:
                pass

    def _drop(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _call(self, body: bytes) -> tuple[int, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        authorization = f"Authorization: Bearer {self._held}\r\n" if self._held else ""
        head = (
            f"POST /v1/checks HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n{authorization}\r\n"
        )
        writer.write(head.encode() + body)
        await writer.drain()
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        length = int(headers.get("content-length", "-1"))
        if not 0 <= length <= MAX_ANSWER_BYTES:
            raise ValueError("an answer without a usable Content-Length")
        answer = await reader.readexactly(length)
        if headers.get("connection", "").lower() == "close":
            self._drop()
        return int(lines[0].split(" ")[1]), answer


def _reason(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, EOFError | ConnectionResetError):
        return "it closed the connection"
    return str(error) or f"no answer within {DEADLINE_S:g} s"
