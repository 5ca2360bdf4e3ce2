"""Tells commands that change the shared pauses of those that a host's break-glass file holds: only the file changes them."""

from __future__ import annotations

from contextlib import suppress

from gate.cli.addresses import Addresses
from gate.cli.board_access import page_of_gate
from gate.core.duration import left_text
from gate.core.pause.board import Board
from gate.core.pause.entry import Pause
from gate.errors import OperatorError, UploadGateError


async def held_by_file(addresses: Addresses) -> tuple[Pause, ...]:
    """The pauses in the break-glass file of the gate at hand that have not ended; none where no gate answers."""
    page = Board()
    if addresses.admin is not None:
        with suppress(UploadGateError):
            page = await page_of_gate(addresses.admin, whole=False)
    return tuple(pause for pause in page.break_glass if pause.id not in page.lifted)


def stay_by_file(held: tuple[Pause, ...], addresses: Addresses, now_us: int) -> list[str]:
    """A sentence for each pause of the file that is in force, with the command that lifts it."""
    return [
        f"note: pause {pause.id} ({pause.action.value} {pause.scope}, {pause.reason}, by {pause.owner}, "
        f"{left_text(pause.expires_at_us - now_us)} left) is in the break-glass file of this host's gate and stays; to "
        f"release it: {_release(pause.id, addresses)}"
        for pause in held
        if pause.active(now_us)
    ]


async def unless_by_file(error: OperatorError, id_: str, addresses: Addresses) -> OperatorError:
    """`error`, or what to do instead if the pause `id_` is in the break-glass file of the gate at hand."""
    if all(pause.id != id_ for pause in await held_by_file(addresses)):
        return error
    return OperatorError(
        f"pause {id_} is in the break-glass file of this host's gate, and no shared pause; nothing was changed",
        f"to release it: {_release(id_, addresses)}; to let it last longer, set another one with `pause --direct file` first",
    )


def _release(id_: str, addresses: Addresses) -> str:
    return addresses.command(f"release {id_} --direct file")
