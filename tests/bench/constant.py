"""An HTTP server with nothing behind it: reads the body and answers a constant, as the floor of what a check costs.

`python -m tests.bench.constant PORT SIZE SERVER`: every answer is an allowed decision padded to SIZE bytes. SERVER is
`uvicorn`, or `own` for the server of the hot port. Until SIGTERM.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable

import uvloop

from gate.errors import RequestRejected
from gate.local.free_port import LOOPBACK
from gate.serve.asgi import Receive, Scope, Send, answer
from gate.serve.hot.exchange import JSON, HotRequest, Response
from gate.serve.server import listening, serving


class OwnConstant:
    """Answers the constant behind the server of the hot port."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def admit(self, request: HotRequest) -> int:
        """See HotApp."""
        return 1 << 20

    async def respond(self, request: HotRequest) -> Response:
        """See HotApp."""
        return 200, self._body, JSON, b""

    def refused(self, request: HotRequest, error: RequestRejected) -> Response:
        """See HotApp."""
        return 400, b"{}", JSON, b""


def uvicorn_constant(body: bytes) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """The same as an ASGI app."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body", False):
            pass
        await answer(send, 200, body)

    return app


async def serve(port: int, size: int, server: str) -> None:
    """Serve until a signal comes."""
    body = b'{"decision":"allow"}'.ljust(size)
    app = OwnConstant(body) if server == "own" else uvicorn_constant(body)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    with listening(LOOPBACK, port, "PORT") as listener:
        async with serving(app, listener):
            print("ready", flush=True)
            await stop.wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
