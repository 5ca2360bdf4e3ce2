"""Gates that stopped telling Redis what they obey, and whether they still decide: each is asked itself.

A gate cut off from Redis goes on with what it last knew. It is not live by its acknowledgements, and yet it would let
in what a new pause is to stop.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from gate.app.converge import Convergence, GateResult, GateState, acknowledges
from gate.cli.http_json import get_json
from gate.errors import UploadGateError
from gate.ports.boards import Acknowledgement

ASK_DEADLINE_S = 0.5
MOST_ASKED = 32


async def with_unheard(result: Convergence) -> tuple[Convergence, list[Acknowledgement]]:
    """`result` with those unheard gates that answer for themselves, and the gates that do not answer either."""
    asked = result.unheard[:MOST_ASKED]
    answers = await asyncio.gather(*(asyncio.to_thread(_obeys, gate.said.url, result.accepted) for gate in asked))
    answering, unheard = list(result.gates), [gate.said for gate in result.unheard[MOST_ASKED:]]
    for gate, obeys in zip(asked, answers, strict=True):
        if obeys is None:
            unheard.append(gate.said)
        else:
            state = GateState.OBEYS if obeys else GateState.LATE
            answering.append(GateResult(gate.said, state, result.seconds if obeys else None))
    return replace(result, gates=tuple(sorted(answering, key=lambda gate: gate.said.process))), unheard


def _obeys(url: str, accepted: frozenset[str]) -> bool | None:
    """Whether the gate at `url` says that it obeys the change, None where it does not say."""
    try:
        answer = get_json(f"{url}/readyz", ASK_DEADLINE_S)
    except UploadGateError:
        return None
    digest, latest = (
        (answer.get(key) for key in ("board_digest", "board_latest")) if isinstance(answer, dict) else (None, None)
    )
    if not isinstance(digest, str) or not isinstance(latest, list):
        return None
    return acknowledges(accepted, [one for one in latest if isinstance(one, str)], digest)
