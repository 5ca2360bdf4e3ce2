"""The gate's HTTP server with nothing behind it: reads the body and answers a constant, as the floor of what a check costs.

`python -m tests.bench.constant PORT SIZE`: every answer is an allowed decision padded to SIZE bytes. Until SIGTERM.
"""

from __future__ import annotations

import asyncio
import signal
import sys

import uvloop

from gate.local.free_port import LOOPBACK
from gate.serve.hot.app import (
    Receive,
    Scope,
    Send,
    answer,
    read_body,
)
from gate.serve.server import listening, serving


async def serve(port: int, size: int) -> None:
    """Serve until a signal comes."""
    body = b'{"decision":"allow"}'.ljust(size)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(scope, receive, 1 << 20)
        await answer(send, 200, body)

    with listening(LOOPBACK, port, "PORT") as listener:
        async with serving(app, listener):
            print("ready", flush=True)
            await stop.wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
