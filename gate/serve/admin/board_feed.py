"""The board for client libraries: one page with an ETag, which can be waited for, and a stream of events.

`GET /v1/board` answers 304 to an `If-None-Match` that still holds; with `?wait=SECONDS` it first waits for a change.
`GET /v1/board/events` is a stream of server-sent events: the whole page as `board` at once and after each change, and a
comment each second, so that a reader without one for three seconds knows that the connection is dead.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gate.app.watch import Watch
from gate.core.pause.board import Board
from gate.ports.clock import Clock
from gate.records.board_document import board_digest
from gate.records.pause import fingerprint
from gate.serve.admin.responses import NO_STORE, admin_response, refusal
from gate.serve.hot.exchange import JSON

BOARD_PATH: Final = "/v1/board"
EVENTS_PATH: Final = "/v1/board/events"
LONGEST_WAIT_S: Final = 60.0
LOOK_EVERY_S: Final = 0.05
BEAT_S: Final = 1.0
MOST_READERS: Final = 512


class BoardFeed:
    """The routes of the board. `page` makes the page; `readers` counts the requests that wait for a change."""

    def __init__(self, watch: Watch, clock: Clock, page: Callable[[], bytes]) -> None:
        self._watch = watch
        self._clock = clock
        self._page = page
        self._known: tuple[Board, int, str] | None = None
        self.readers = 0

    def tag(self) -> str:
        """The ETag of the page now. It changes with what is obeyed: with the pauses, and as one begins or ends."""
        board, second = self._watch.board, self._clock.now_us() // 1_000_000
        if self._known is None or self._known[0] is not board or self._known[1] != second:
            self._known = board, second, self._tag_of(board)
        return self._known[2]

    async def board(self, request: Request) -> Response:
        """One request for the page."""
        held = request.headers.get("if-none-match", "")
        try:
            wait_s = min(max(float(request.query_params.get("wait", "0")), 0.0), LONGEST_WAIT_S)
        except ValueError:
            return refusal("field.invalid", "wait is a number of seconds, at most 60")
        if wait_s > 0.0 and held:
            await self._changed(held, wait_s, request)
        tag = self.tag()
        if held == tag:
            return Response(status_code=304, headers={"etag": tag, **NO_STORE})
        response = admin_response(self._page(), 200, JSON)
        response.headers["etag"] = tag
        return response

    async def events(self, request: Request) -> Response:
        """One request for the stream of events."""
        if self.readers >= MOST_READERS:
            return refusal("connections.too_many", f"{MOST_READERS} readers are the most that one gate serves")
        return StreamingResponse(self._stream(request), media_type="text/event-stream", headers=NO_STORE)

    async def _changed(self, held: str, wait_s: float, request: Request) -> None:
        """Return once the tag is another one, the time is over or the reader is gone."""
        if self.readers >= MOST_READERS:
            return
        clock = asyncio.get_running_loop().time
        until_s = clock() + wait_s
        self.readers += 1
        try:
            while self.tag() == held and clock() < until_s and not await request.is_disconnected():
                await asyncio.sleep(min(LOOK_EVERY_S, max(0.0, until_s - clock())))
        finally:
            self.readers -= 1

    async def _stream(self, request: Request) -> AsyncIterator[bytes]:
        clock = asyncio.get_running_loop().time
        last, beaten_s = "", clock()
        self.readers += 1
        try:
            while not await request.is_disconnected():
                tag = self.tag()
                if tag != last:
                    last = tag
                    yield b"event: board\nid: %s\ndata: %s\n\n" % (tag.strip('"').encode(), self._page())
                elif clock() - beaten_s >= BEAT_S:
                    beaten_s = clock()
                    yield b": alive\n\n"
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            self.readers -= 1

    def _tag_of(self, board: Board) -> str:
        store_us, host_us = self._watch.store_now_us(), self._clock.now_us()
        acting = [pause.id for pause in board.pauses.values() if pause.active(store_us) or pause.ramping(store_us)]
        glass = [f"{fingerprint(pause)} {pause.active(host_us)}" for pause in board.break_glass]
        facts = "\n".join((board_digest(board), *sorted(acting), *glass, *sorted(board.lifted)))
        return f'"{hashlib.sha256(facts.encode()).hexdigest()[:16]}"'
