"""The score store in Redis (or Valkey): `{prefix}score:{ACCOUNT}`, kept 90 days after it was put last.

`{prefix}scores:NAME` are marks of how far the scores were filled, `{prefix}{scores}:NAME` are claims of who fills them.

`gate.records.score` says what a stored score looks like.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from gate.core.score import Score
from gate.ports.scores import EncodedScore
from gate.records.score import decode_stored_score
from gate.records.score_batches import stored_each
from gate.stores.redis.account_keys import account_in, in_key, score_key
from gate.stores.redis.connections.cluster_map import slot_of
from gate.stores.redis.connections.connect import line_to
from gate.stores.redis.connections.line import Stats
from gate.stores.redis.connections.script_call import Run, Script

SCORE_TTL_MS: Final = 90 * 86_400_000
SCORES_A_CALL: Final = 64
SCORES_A_TURN: Final = 1024
DEADLINE_S: Final = 2.0


class RedisScoreStore:
    """A ScoreMirror; see ports for what it promises. It connects on first use; use it in one event loop, until close().

    `deadline_s` bounds each of the calls into which a large request is cut.
    """

    def __init__(
        self, url: str, prefix: str = "ug:", deadline_s: float = DEADLINE_S, *, stats: Stats | None = None
    ) -> None:
        self._prefix = prefix
        self._deadline_s = deadline_s
        self._put = Script.named("put_scores")
        self._mark = Script.named("mark_filled")
        self._forget = Script.named("forget_scores")
        self._line = line_to(url, "upload-gate-scores", stats)
        self._turn = asyncio.Lock()

    async def close(self) -> None:
        """Close the connection."""
        await self._line.close()

    async def ping(self) -> None:
        """Return once the server answers. Raises StoreUnavailable."""
        async with self._turn:
            await self._line.execute(b"PING", within_s=self._deadline_s)

    async def put_scores(self, scores: Sequence[EncodedScore]) -> int:
        """See ScoreStore. Thousands at once are sent in pieces, so that checks get their turn between them."""
        stored = 0
        for runs in self._runs(scores):
            async with self._turn:
                stored += sum(await self._line.run(runs, self._deadline_s, again=True))
        return stored

    async def scores(self, accounts: Sequence[str]) -> list[Score | None]:
        """See ScoreStore."""
        values: list[bytes | None] = []
        for start in range(0, len(accounts), SCORES_A_TURN):
            keys = [self._key(account) for account in accounts[start : start + SCORES_A_TURN]]
            async with self._turn:
                values += await self._line.values(keys, self._deadline_s)
        return [None if value is None else decode_stored_score(value) for value in values]

    async def some_accounts(self, most: int) -> list[str]:
        """Accounts that have a score, in no order: all of them, or about `most`. Raises StoreUnavailable."""
        begin = f"{self._prefix}score:{{"
        found: set[str] = set()
        async with self._turn:
            async for keys in self._line.scan(f"{begin}*", SCORES_A_TURN, self._deadline_s):
                found.update(account_in(key.decode(errors="replace")[len(begin) : -1]) for key in keys)
                if len(found) >= most:
                    break
        return list(found)

    async def mark_filled(self, marks: Mapping[str, tuple[str, str]]) -> dict[str, str]:
        """See ScoreMirror."""
        if not marks:
            return {}
        begin = f"{self._prefix}{{scores}}:" if self._line.is_clustered else f"{self._prefix}scores:"
        keys = [f"{begin}{name}" for name in marks]
        run = Run(self._mark, keys, [value for pair in marks.values() for value in pair])
        async with self._turn:
            (reply,) = await self._line.run([run], self._deadline_s)
        return {name: value.decode(errors="replace") for name, value in zip(marks, reply, strict=True)}

    async def claim(self, name: str, expected: str, following: str) -> str:
        """Set the claim `name` to `following` if it is `expected`, in one step. Returns what it was; "" means none.

        Raises StoreUnavailable; it may have been set all the same.
        """
        run = Run(self._mark, [f"{self._prefix}{{scores}}:{name}"], (expected, following))
        async with self._turn:
            (reply,) = await self._line.run([run], self._deadline_s)
        before: bytes = reply[0]
        return before.decode(errors="replace")

    async def forget_scores(self, accounts: Sequence[str], before_us: int) -> int:
        """See ScoreMirror."""
        forgotten = 0
        for start in range(0, len(accounts), SCORES_A_TURN):
            some = accounts[start : start + SCORES_A_TURN]
            runs = [Run(self._forget, keys, (before_us,)) for keys in self._together(some)]
            async with self._turn:
                forgotten += sum(await self._line.run(runs, self._deadline_s, again=True))
        return forgotten

    def _together(self, accounts: Sequence[str]) -> list[list[str]]:
        """The keys of the accounts, cut into those that may share a call: on a Cluster those of one slot."""
        keys = [self._key(account) for account in accounts]
        by_slot: dict[int, list[str]] = {}
        for key in keys:
            by_slot.setdefault(slot_of(key) if self._line.is_clustered else 0, []).append(key)
        return [some[at : at + SCORES_A_CALL] for some in by_slot.values() for at in range(0, len(some), SCORES_A_CALL)]

    def _key(self, account: str) -> str:
        return score_key(self._prefix, account)

    def _runs(self, scores: Sequence[EncodedScore]) -> Iterator[list[Run]]:
        """The calls that store `scores`, some at a time, each packed only when its turn has come."""
        begin = f"{self._prefix}score:{{"
        for start in range(0, len(scores), SCORES_A_TURN):
            some = scores[start : start + SCORES_A_TURN]
            keys, values = [f"{begin}{in_key(score.account)}}}" for score, _ in some], stored_each(some)
            if self._line.is_clustered or len(set(keys)) < len(keys):
                yield [self._run(list(chunk), list(chunk.values())) for chunk in self._apart(keys, values)]
            else:
                calls = [slice(at, at + SCORES_A_CALL) for at in range(0, len(keys), SCORES_A_CALL)]
                yield [self._run(keys[call], values[call]) for call in calls]

    def _apart(self, keys: Sequence[str], values: Sequence[bytes]) -> list[dict[str, bytes]]:
        """Keys with their values, cut into those that may share a call: on a Cluster those of one slot, and no key twice,
        because the script reads all before it writes."""
        full: list[dict[str, bytes]] = []
        open_: dict[int, dict[str, bytes]] = {}
        for key, value in zip(keys, values, strict=True):
            slot = slot_of(key) if self._line.is_clustered else 0
            chunk = open_.setdefault(slot, {})
            if len(chunk) == SCORES_A_CALL or key in chunk:
                full.append(chunk)
                chunk = open_[slot] = {}
            chunk[key] = value
        return [*full, *open_.values()]

    def _run(self, keys: Sequence[str], values: Sequence[bytes]) -> Run:
        return Run(self._put, keys, (SCORE_TTL_MS, *values))
