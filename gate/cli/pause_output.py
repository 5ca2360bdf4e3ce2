"""Opens the board's store for a command, and shows pauses and gates as JSON and in words."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gate.app.converge import Convergence
from gate.app.operate import Operate
from gate.cli.addresses import Addresses
from gate.cli.output import instant
from gate.core.duration import duration_text
from gate.core.pause.board import Pause
from gate.core.pause.scope import Scope
from gate.errors import NotConverged

STORE_DEADLINE_S = 2.0
OBEY_DEADLINE_S = 5.0
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


def new_pause_id() -> str:
    """`p-` and 40 random bits in base32."""
    return "p-" + "".join(secrets.choice(_ALPHABET) for _ in range(8))


@asynccontextmanager
async def operating(addresses: Addresses) -> AsyncIterator[Operate]:
    """The acts over the board in the system's Redis. Raises StoreUnavailable when it is used and Redis is not there."""
    from gate.stores.redis.boards import RedisBoardStore

    store = RedisBoardStore(addresses.redis, prefix=addresses.prefix, deadline_s=STORE_DEADLINE_S)
    await store.open()
    try:
        yield Operate(store, new_pause_id)
    finally:
        await store.close()


def scope_json(scope: Scope) -> dict[str, list[str]]:
    """The sets that narrow the scope; empty where it is platform-wide."""
    return {name: sorted(values) for name, values in scope.sets.items() if values}


def pause_json(pause: Pause, now_us: int) -> dict[str, object]:
    """A pause as commands print it; times are RFC 3339, spans are seconds."""
    return {
        "id": pause.id,
        "rev": pause.rev,
        "scope": scope_json(pause.scope),
        "covers": str(pause.scope),
        "action": pause.action.value,
        "reason": pause.reason,
        "text": pause.text,
        "owner": pause.owner,
        "starts_at": None if pause.starts_at_us is None else instant(pause.starts_at_us),
        "expires_at": instant(pause.expires_at_us),
        "seconds_left": round(max(pause.expires_at_us - now_us, 0) / 1_000_000, 1),
        "released_at": None if pause.released_at_us is None else instant(pause.released_at_us),
        "released_by": pause.released_by,
    }


def pause_words(pause: Pause, now_us: int) -> str:
    """A pause in one line for people."""
    left = duration_text(pause.expires_at_us - now_us)
    text = f' "{pause.text}"' if pause.text else ""
    return f"{pause.id}  {pause.action.value}  {pause.scope}  {pause.reason}{text}  by {pause.owner}  {left} left"


def convergence_json(result: Convergence) -> dict[str, object]:
    """Who obeys, as `pause` and `release` print it."""
    return {
        "gates": [
            {
                "gate": gate.said.gate,
                "url": gate.said.url,
                "rev": gate.said.rev,
                "obeys": gate.obeys,
                "seconds": None if gate.seconds is None else round(gate.seconds, 4),
            }
            for gate in result.gates
        ],
        "accepted_to_obeyed_seconds": round(result.seconds, 4) if result.complete else None,
    }


def obeyed(act: str, result: Convergence) -> str:
    """The sentence that says all gates obey `act`, such as `pause p-…`. Raises NotConverged where they do not."""
    count = len(result.gates)
    if result.complete:
        after = f"{result.seconds:.2f} s after Redis accepted it"
        return f"{act} is obeyed by {count} of {count} gates (rev {result.change.rev}, {after})"
    if not count:
        raise NotConverged(
            f"{act} is written (rev {result.change.rev}), but no gate is live to obey it",
            "gates obey it when they start; see `upload-gate status`",
        )
    late = ", ".join(f"{gate.said.gate} at {gate.said.url} (rev {gate.said.rev})" for gate in result.missing)
    raise NotConverged(
        f"{act} is written (rev {result.change.rev}), but only {count - len(result.missing)} of {count} gates obey it "
        f"after {result.seconds:.1f} s; not: {late}",
        "look at those gates; where they cannot be reached, put the pause into the break-glass file on their hosts",
    )
