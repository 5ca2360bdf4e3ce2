"""Pauses that gates obey and the store lacks, by the gates' acknowledgements: a failover or a restore lost them."""

from __future__ import annotations

from collections.abc import Iterable

from gate.core.pause.board import Board
from gate.ports.boards import Acknowledgement

NAMED = 5
"""More ids than this are counted in a sentence, not named."""


def lacking(said: Acknowledgement, board: Board) -> list[str]:
    """The ids of the newest pauses of a gate that the board does not have, or has in an older revision only."""
    unreadable = {entry.id for entry in board.unreadable}
    found = []
    for proof in said.latest:
        id_, _, rest = proof.rpartition("@")
        rev, known = rest.partition("#")[0], board.pauses.get(id_)
        if rev.isdecimal() and id_ not in unreadable and (known is None or known.rev < int(rev)):
            found.append(id_)
    return found


def lacking_note(gates: Iterable[Acknowledgement], board: Board, store: str = "Redis") -> tuple[str, ...]:
    """What to do about pauses that gates obey and the store lacks, in a sentence; none where it lacks none."""
    ids = list(dict.fromkeys(id_ for said in gates for id_ in lacking(said, board)))
    if not ids:
        return ()
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    return (
        f"gates hold what {store} lacks: {', '.join(ids[:NAMED])}{more}. Gates or a keeper write it back within two seconds; "
        "if this stays, run `upload-gate keeper --admin URL` on the host of such a gate",
    )
