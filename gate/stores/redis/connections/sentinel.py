"""A connection to the master that Sentinels name. It finds the master when it opens, and again each second while it is in use.

After a failover that an operator orders, the old master goes on as one for some seconds, and what is written to it is lost. So a
line leaves it as soon as the Sentinels name another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from redis.exceptions import ConnectionError

from gate.errors import StoreUnavailable
from gate.stores.redis.connections.address import Endpoint, Endpoints
from gate.stores.redis.connections.line import Line, Routed, Stats, connection_to, pack
from gate.stores.redis.connections.replies import Replies
from gate.stores.redis.connections.script_call import ScriptCall

VERIFY_EVERY_S: Final = 1.0
VERIFY_WITHIN_S: Final = 1.0


class SentinelLine(Line):
    """A Line to the master of a service."""

    def __init__(self, endpoints: Endpoints, name: str = "upload-gate", stats: Stats | None = None) -> None:
        super().__init__(endpoints.url(endpoints.servers[0]), name, stats)
        self._endpoints = endpoints
        self._where = f"the master of {endpoints.service}"
        self._at: Endpoint | None = None
        self._verify_at_s = 0.0
        self._verifying: asyncio.Task[None] | None = None
        self._has_moved = False

    def twin(self) -> Line:
        """See Line."""
        return SentinelLine(self._endpoints, self._name, self._stats)

    async def close(self) -> None:
        """See Line."""
        if self._verifying is not None:
            self._verifying.cancel()
            await asyncio.gather(self._verifying, return_exceptions=True)
        await super().close()

    async def call(self, packed: Sequence[bytes], until_s: float) -> list[Any]:
        """See Line."""
        now_s = asyncio.get_running_loop().time()
        if self._has_moved:
            await self._drop()
        elif self.is_open and now_s >= self._verify_at_s:
            self._verify_at_s = now_s + VERIFY_EVERY_S
            self._verifying = asyncio.create_task(self._verify())
        return await super().call(packed, until_s)

    def begin(self, run: ScriptCall, until_s: float, done: Callable[[Any], None]) -> bool:
        """See Line. A call that must leave the server, or have it verified, is left to `call`."""
        if self._has_moved or asyncio.get_running_loop().time() >= self._verify_at_s:
            return False
        return super().begin(run, until_s, done)

    async def _verify(self) -> None:
        with suppress(ConnectionError):
            self._has_moved = await self._master(VERIFY_WITHIN_S) != self._at

    async def _open(self, within_s: float) -> Replies:
        clock = asyncio.get_running_loop().time
        until_s = clock() + within_s
        master = await self._master(within_s)
        await self._drop()
        self._connection = connection_to(self._endpoints.url(master), self._name)
        replies = await super()._open(until_s - clock())
        replies.send(pack((b"ROLE",)))
        (role,) = await replies.next(1, until_s - clock())
        if not isinstance(role, list) or role[0] != b"master":
            raise ConnectionError(f"{master} is named as the master and is a replica")
        self._at, self._has_moved, self._verify_at_s = master, False, clock() + VERIFY_EVERY_S
        return replies

    async def _master(self, within_s: float) -> Endpoint:
        """The master as most Sentinels say that answer. Raises redis' ConnectionError.

        Right after a failover some still name the old one: of different answers that of the highest epoch counts.
        """
        servers = self._endpoints.servers
        calls = [asyncio.create_task(self._named_by(at, within_s / 2)) for at in servers]
        named: list[tuple[int, Endpoint]] = []
        troubles: list[str] = []
        try:
            for call in asyncio.as_completed(calls):
                answer = await call
                if isinstance(answer, str):
                    troubles.append(answer)
                else:
                    named.append(answer)
                if len(named) > len(servers) / 2:
                    break
        finally:
            for each in calls:
                each.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
        if not named:
            raise ConnectionError(f"none of {len(servers)} Sentinels names it; one of them: {troubles[0]}")
        return max(named)[1]

    async def _named_by(self, at: Endpoint, within_s: float) -> tuple[int, Endpoint] | str:
        """The epoch of what this Sentinel knows, and the master; or why it names none."""
        line = Line(self._endpoints.sentinel_url(at), self._name)
        service = self._endpoints.service
        calls: list[Routed] = [
            ("", (b"SENTINEL", b"MASTER", service)),
            ("", (b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", service)),
        ]
        try:
            known, (host, port) = await line.pipeline(calls, within_s)
            epoch = dict(zip(known[::2], known[1::2], strict=True))[b"config-epoch"]
            return int(epoch), Endpoint(host.decode(), int(port))
        except StoreUnavailable as error:
            return str(error)
        except (KeyError, ValueError, TypeError):
            return f"the Sentinel at {at} does not know {service}"
        finally:
            await line.close()
