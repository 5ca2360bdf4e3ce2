"""Interim responses (1xx) over real HTTP: a client that waits for `100 Continue` is answered before it sends the body."""

import asyncio
import json
from pathlib import Path

from tests.edges.running_gate import CHECK, running_gate


async def test_a_client_that_waits_for_100_continue_gets_it_before_it_sends_the_body(tmp_path: Path) -> None:
    body = json.dumps(CHECK).encode()
    head = (
        b"POST /v1/check HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nexpect: 100-continue\r\n"
        b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
    )

    async with running_gate(tmp_path) as gate, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
        writer.write(head)
        interim = await reader.readuntil(b"\r\n\r\n")
        writer.write(body)
        final = await reader.read()
        writer.close()
        await writer.wait_closed()

    assert interim.startswith(b"HTTP/1.1 100 ")
    assert final.startswith(b"HTTP/1.1 200 ")
    assert b'"decision":"allow"' in final
