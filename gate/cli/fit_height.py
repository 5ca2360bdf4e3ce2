"""Fits the lines of `status` into the height of a terminal, for `--watch`, which shows them from the top again each second.

A block is a line with the indented lines that continue it: the head, a pause, a gate, the policy. Lines that do not fit
are left out and counted: first the further lines of pauses, then gates that obey, then the last pauses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

CONTINUES = "    "
PAUSE = "  "
GATE = "gate "
BEHIND, UNHEARD, NOT_ON_DISK, CANNOT_READ, HOLDS = "BEHIND", "SILENT", "NOT ON DISK", "CANNOT READ", "HOLDS"
LIFTS, CLOCK, KNOWS_NO_PAUSES, SALT = "LIFTS", "CLOCK", "KNOWS NO PAUSES", "SALT DIFFERS"
AMISS = (BEHIND, UNHEARD, NOT_ON_DISK, CANNOT_READ, HOLDS, LIFTS, CLOCK, KNOWS_NO_PAUSES, SALT)
"""The words on the line of a gate that does not obey or has another salt. Such a gate is shown before the others."""

Block = list[str]


def fitted(lines: Sequence[str], height: int) -> list[str]:
    """At most `height` of the lines; all of them if they fit."""
    blocks = _blocks(lines)
    if len(lines) > height:
        blocks = [block[:1] if _is_pause(block) else block for block in blocks]
        blocks = _counted(blocks, _obeys, height, "gates that obey")
        blocks = _counted(blocks, _is_pause, height, "pauses; `upload-gate status` shows all")
    return [line for block in blocks for line in block][: max(height, 1)]


def _blocks(lines: Sequence[str]) -> list[Block]:
    blocks: list[Block] = []
    for line in lines:
        if blocks and line.startswith(CONTINUES):
            blocks[-1].append(line)
        else:
            blocks.append([line])
    return blocks


def _is_pause(block: Block) -> bool:
    return block[0].startswith(PAUSE)


def _obeys(block: Block) -> bool:
    return block[0].startswith(GATE) and not any(word in line for word in AMISS for line in block)


def _counted(blocks: list[Block], may_go: Callable[[Block], bool], height: int, what: str) -> list[Block]:
    """The blocks, with a count in place of those that were left out to make room."""
    left, gone = list(blocks), 0
    for number in range(len(blocks) - 1, -1, -1):
        if sum(map(len, left)) + (gone > 0) <= height:
            break
        if may_go(blocks[number]):
            del left[number]
            gone, at = gone + 1, number
    if gone:
        left.insert(at, [f"… and {gone} more {what}"])
    return left
