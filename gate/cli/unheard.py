"""Gates that stopped telling Redis what they obey, and whether they still decide: each is asked itself.

A gate cut off from Redis goes on with what it last knew. It is not live by its acknowledgements, and yet it would let
in what a new pause is to stop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from gate.app.operate import Convergence, Obedience
from gate.cli.http_json import get_json
from gate.errors import UploadGateError
from gate.ports.boards import Acknowledgement

HEARD_WITHIN_US = 300_000_000
ASK_DEADLINE_S = 0.5
MOST_ASKED = 32


async def with_unheard(
    result: Convergence, seen: Sequence[Acknowledgement]
) -> tuple[Convergence, list[Acknowledgement]]:
    """`result` with those silent gates that answer for themselves, and the gates that do not answer either."""
    known = {gate.gate for gate in result.gates}
    silent = [gate for gate in seen if gate.gate not in known]
    revs = await asyncio.gather(*(asyncio.to_thread(_rev, gate.url) for gate in silent[:MOST_ASKED]))
    asked = zip(silent, [*revs, *[None] * (len(silent) - len(revs))], strict=True)
    answering, unheard = list(result.gates), list[Acknowledgement]()
    for gate, rev in asked:
        if rev is None:
            unheard.append(gate)
        else:
            seconds = result.seconds if rev >= result.rev else None
            answering.append(Obedience(gate.gate, gate.url, rev, seconds))
    return replace(result, gates=tuple(sorted(answering, key=lambda gate: gate.gate))), unheard


def _rev(url: str) -> int | None:
    try:
        answer = get_json(f"{url}/readyz", ASK_DEADLINE_S)
    except UploadGateError:
        return None
    rev = answer.get("board_rev") if isinstance(answer, dict) else None
    return rev if isinstance(rev, int) else None
