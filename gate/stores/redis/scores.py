"""The score store in Redis (or Valkey): `{prefix}score:{ACCOUNT}`, kept 90 days after it was put last.

`{prefix}scores:NAME` are marks of how far the scores were filled.

`gate.records.score` says what a stored score looks like.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from gate.core.score import Score
from gate.ports.scores import EncodedScore
from gate.records.score import decode_stored_score, stored_score
from gate.stores.redis.line import Line, Run, Script, Stats

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
        self._line = Line(url, "upload-gate-scores", stats)
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
                values += await self._line.execute(b"MGET", *keys, within_s=self._deadline_s)
        return [None if value is None else decode_stored_score(value) for value in values]

    async def some_accounts(self, most: int) -> list[str]:
        """Accounts that have a score, in no order: all of them, or about `most`. Raises StoreUnavailable."""
        begin, cursor = f"{self._prefix}score:{{", b"0"
        found: set[str] = set()
        while len(found) < most:
            async with self._turn:
                cursor, keys = await self._line.execute(
                    b"SCAN", cursor, b"MATCH", f"{begin}*", b"COUNT", SCORES_A_TURN, within_s=self._deadline_s
                )
            found.update(key.decode(errors="replace")[len(begin) : -1] for key in keys)
            if cursor == b"0":
                break
        return list(found)

    async def mark_filled(self, marks: Mapping[str, tuple[str, str]]) -> dict[str, str]:
        """See ScoreMirror."""
        if not marks:
            return {}
        keys = [f"{self._prefix}scores:{name}" for name in marks]
        run = Run(self._mark, keys, [value for pair in marks.values() for value in pair])
        async with self._turn:
            (reply,) = await self._line.run([run], self._deadline_s)
        return {name: value.decode(errors="replace") for name, value in zip(marks, reply, strict=True)}

    async def forget_scores(self, accounts: Sequence[str], before_us: int) -> int:
        """See ScoreMirror."""
        forgotten = 0
        for start in range(0, len(accounts), SCORES_A_TURN):
            some = accounts[start : start + SCORES_A_TURN]
            runs = [
                Run(self._forget, [self._key(account) for account in some[at : at + SCORES_A_CALL]], (before_us,))
                for at in range(0, len(some), SCORES_A_CALL)
            ]
            async with self._turn:
                forgotten += sum(await self._line.run(runs, self._deadline_s, again=True))
        return forgotten

    def _key(self, account: str) -> str:
        return f"{self._prefix}score:{{{account}}}"

    def _runs(self, scores: Sequence[EncodedScore]) -> Iterator[list[Run]]:
        """The calls that store `scores`, some at a time, each packed only when its turn has come."""
        turn: list[Run] = []
        chunk: dict[str, bytes] = {}
        for scored in scores:
            key = self._key(scored.score.account)
            if len(chunk) == SCORES_A_CALL or key in chunk:  # a script reads all before it writes
                turn.append(self._run(chunk))
                chunk = {}
                if len(turn) == SCORES_A_TURN // SCORES_A_CALL:
                    yield turn
                    turn = []
            chunk[key] = stored_score(scored)
        if chunk:
            yield [*turn, self._run(chunk)]

    def _run(self, chunk: dict[str, bytes]) -> Run:
        return Run(self._put, list(chunk), (SCORE_TTL_MS, *chunk.values()))
