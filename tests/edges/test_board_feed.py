"""The board for client libraries: ETag, waiting for a change, and server-sent events, over real HTTP."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from gate.core.pause.board import Board
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Action, Scope
from gate.serve.clock import SystemClock
from tests.edges.running_gate import Gate, ask, running_gate


def a_pause(id_: str, lasts_us: int = 60_000_000) -> Pause:
    now_us = SystemClock().now_us()
    return Pause(id_, 1, Scope(), Action.STOP, "raid", "", "ann", None, now_us + lasts_us, set_at_us=now_us)


async def set_pause(gate: Gate, id_: str, lasts_us: int = 60_000_000) -> None:
    await gate.watch.hear_elsewhere(Board({id_: a_pause(id_, lasts_us)}))


async def test_a_page_that_did_not_change_is_not_sent_again(tmp_path: Path) -> None:
    async with running_gate(tmp_path) as gate:
        first = await gate.get("/v1/board", admin=True)
        same = await ask(gate.admin_port, "GET", "/v1/board", b"", {"if-none-match": first.headers["etag"]})
        await set_pause(gate, "p-1")
        changed = await ask(gate.admin_port, "GET", "/v1/board", b"", {"if-none-match": first.headers["etag"]})

    assert (first.status, same.status, same.body, changed.status) == (200, 304, b"", 200)
    assert changed.headers["etag"] != first.headers["etag"]
    assert [pause["id"] for pause in changed.json["pauses"]] == ["p-1"]


async def test_a_request_that_waits_is_answered_as_soon_as_the_board_changes(tmp_path: Path) -> None:
    async with running_gate(tmp_path) as gate:
        tag = (await gate.get("/v1/board", admin=True)).headers["etag"]
        waiting = asyncio.create_task(ask(gate.admin_port, "GET", "/v1/board?wait=30", b"", {"if-none-match": tag}))
        early, _ = await asyncio.wait({waiting}, timeout=0.3)
        await set_pause(gate, "p-1")
        reply = await asyncio.wait_for(waiting, 5.0)
        late = await ask(gate.admin_port, "GET", "/v1/board?wait=0.1", b"", {"if-none-match": reply.headers["etag"]})
        wrong = await gate.get("/v1/board?wait=soon", admin=True)

    assert early == set()
    assert (reply.status, late.status, wrong.status) == (200, 304, 400)
    assert [pause["id"] for pause in reply.json["pauses"]] == ["p-1"]


async def test_the_tag_changes_as_a_pause_ends_by_itself(tmp_path: Path) -> None:
    async with running_gate(tmp_path) as gate:
        await set_pause(gate, "p-1", lasts_us=1_500_000)
        before = await gate.get("/v1/board", admin=True)
        headers = {"if-none-match": before.headers["etag"]}
        after = await ask(gate.admin_port, "GET", "/v1/board?wait=20", b"", headers)

    assert after.status == 200
    assert (len(before.json["pauses"]), len(after.json["pauses"])) == (1, 0)


async def test_events_carry_the_whole_board_at_once_and_after_each_change_with_signs_of_life(tmp_path: Path) -> None:
    async with running_gate(tmp_path) as gate:
        reader, writer = await asyncio.open_connection("127.0.0.1", gate.admin_port)
        writer.write(b"GET /v1/board/events HTTP/1.1\r\nhost: localhost\r\n\r\n")
        async with asyncio.timeout(10):
            head = await reader.readuntil(b"\r\n\r\n")
            first = await reader.readuntil(b"data: ")
            empty = json.loads(await reader.readline())
            await set_pause(gate, "p-1")
            await reader.readuntil(b"data: ")
            full = json.loads(await reader.readline())
            await reader.readuntil(b": alive")
        writer.close()

    assert b"text/event-stream" in head
    assert b"event: board" in first
    assert (empty["pauses"], [pause["id"] for pause in full["pauses"]]) == ([], ["p-1"])
