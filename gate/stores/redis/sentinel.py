"""A connection to the master that Sentinels name. They are asked each time it opens, so that it follows a failover."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from redis.exceptions import ConnectionError

from gate.errors import StoreUnavailable
from gate.stores.redis.address import Endpoint, Endpoints
from gate.stores.redis.line import Line, Replies, Stats, connection_to, pack


class SentinelLine(Line):
    """A Line to the master of a service."""

    def __init__(self, endpoints: Endpoints, name: str = "upload-gate", stats: Stats | None = None) -> None:
        super().__init__(endpoints.url(endpoints.servers[0]), name, stats)
        self._endpoints = endpoints
        self._where = f"the master of {endpoints.service}"

    def twin(self) -> Line:
        """See Line."""
        return SentinelLine(self._endpoints, self._name, self._stats)

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
        return replies

    async def _master(self, within_s: float) -> Endpoint:
        """The master as the first Sentinel says that answers. Raises redis' ConnectionError."""
        calls = [asyncio.create_task(self._named_by(at, within_s)) for at in self._endpoints.servers]
        try:
            for call in asyncio.as_completed(calls):
                if (master := await call) is not None:
                    return master
        finally:
            for each in calls:
                each.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
        raise ConnectionError(f"none of {len(calls)} Sentinels names it")

    async def _named_by(self, at: Endpoint, within_s: float) -> Endpoint | None:
        line = Line(self._endpoints.sentinel_url(at), self._name)
        try:
            with suppress(StoreUnavailable):
                command = (b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", self._endpoints.service)
                reply = await line.execute(*command, within_s=within_s)
                return Endpoint(reply[0].decode(), int(reply[1])) if reply else None
            return None
        finally:
            await line.close()
