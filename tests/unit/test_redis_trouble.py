"""What is said where a Redis is meant to be and something else answers, refuses the login, or nothing listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gate.cli.addresses import resolve_addresses
from gate.cli.board_access import not_written
from gate.errors import StoreUnavailable
from gate.local.free_port import free_port
from gate.stores.redis.boards import RedisBoardStore
from gate.stores.redis.scores import RedisScoreStore
from tests.servers import running_redis


@asynccontextmanager
async def answering(reply: bytes) -> AsyncIterator[int]:
    """The port of a server that sends `reply` to each client that says something, and closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        writer.write(reply)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "what answers there does not speak Redis"),
        (b"", "it closes the connection at once; check that a Redis listens there"),
        (b"-WRONGPASS invalid username-password pair or user is disabled.\r\n", "it refuses the login; check user and"),
        (
            b"-ERR AUTH <password> called without any password configured for the default user.\r\n",
            "it refuses the login",
        ),
    ],
)
async def test_what_answers_in_place_of_redis_is_told_in_words(reply: bytes, said: str) -> None:
    async with answering(reply) as port:
        store = RedisScoreStore(f"redis://:s3cret@127.0.0.1:{port}/0")
        with pytest.raises(StoreUnavailable) as error:
            await store.ping()
        await store.close()

    assert f"Redis at redis://:***@127.0.0.1:{port}/0 cannot be reached: {said}" in str(error.value)


async def test_nothing_that_listens_is_a_refused_connection() -> None:
    store = RedisScoreStore(f"redis://127.0.0.1:{free_port()}/0")

    with pytest.raises(StoreUnavailable, match="cannot be reached: connection refused"):
        await store.ping()
    await store.close()


async def test_a_change_through_a_redis_that_never_replied_was_not_written_and_after_a_reply_it_may_have_been(
    tmp_path: Path,
) -> None:
    with running_redis(tmp_path) as server:
        store = RedisBoardStore(server.url)
        await store.read()

    with pytest.raises(StoreUnavailable) as replied:
        await store.read()
    await store.close()
    never = RedisBoardStore(f"redis://127.0.0.1:{free_port()}/0")
    with pytest.raises(StoreUnavailable) as refused:
        await never.read()
    await never.close()

    addresses = resolve_addresses(tmp_path, environ={})
    assert "whether the change was written. Repeat it" in str(not_written(replied.value, addresses, "Repeat it"))
    assert "Nothing was written. Repeat it" in str(not_written(refused.value, addresses, "Repeat it"))
