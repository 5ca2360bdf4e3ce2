"""`release`, `approve` and `extend` as typed, with a store in memory: what they show, what they change, how they end."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gate.app.converge import Convergence
from gate.app.operate import Operate
from gate.app.permission import Authority
from gate.cli import approve, extend, pause, release
from gate.cli import main as cli
from gate.core.duration import HOUR_US, MINUTE_US
from gate.core.pause.board import Board
from gate.core.pause.entry import Pause, PauseChange, Proposal
from gate.core.pause.scope import Action, PauseMode, Scope
from gate.errors import NotConverged
from gate.ports.boards import Acknowledgement
from gate.records.board_page import board_page
from gate.stores.memory.boards import MemoryBoardStore
from tests.pages import page

NOON_US = 1_800_000_000_000_000
PAUSE = Pause(
    "p-1", 1, Scope(frozenset(("new",))), Action.STOP, "raid", "", "ann", None, NOON_US + HOUR_US, set_at_us=NOON_US,
    identity="1@a",
)  # fmt: skip


class Noon:
    def now_us(self) -> int:
        return NOON_US + MINUTE_US


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryBoardStore:
    """A store that the commands reach from the login `1@a`; there is no gate."""
    found, numbers = MemoryBoardStore(Noon()), itertools.count(10)

    @asynccontextmanager
    async def operating(_: object, authority: Authority | None = None, direct: object = None) -> AsyncIterator[Operate]:
        known = replace(Authority() if authority is None else authority, identity="1@a")
        yield Operate(found, lambda: f"p-{next(numbers)}", authority=known)

    for module in (approve, extend, pause, release):
        monkeypatch.setattr(module, "operating", operating)
    monkeypatch.setenv("UPLOAD_GATE_STATE", str(tmp_path))
    monkeypatch.setenv("UPLOAD_GATE_REDIS", "redis://127.0.0.1:9/0")
    monkeypatch.setenv("UPLOAD_GATE_ADMIN", "http://127.0.0.1:9")
    monkeypatch.setenv("UPLOAD_GATE_OWNER", "ann")
    return found


@pytest.fixture
def put(store: MemoryBoardStore) -> Callable[..., None]:
    def put(*pauses: Pause) -> None:
        async def write() -> None:
            known = (await store.read()).pauses
            assert await store.replace(
                (await store.read()).rev, Board({**known, **{pause.id: pause for pause in pauses}})
            )

        asyncio.run(write())

    return put


def board(store: MemoryBoardStore) -> dict[str, Pause]:
    return dict(asyncio.run(store.read()).pauses)


def test_a_release_of_all_shows_each_and_releases_no_pause_that_was_set_while_it_was_asked_about(
    store: MemoryBoardStore, put: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    put(PAUSE)
    told: list[str] = []

    def agreed(question: str) -> bool:
        told.append(" ".join(capsys.readouterr().err.split()))
        put(replace(PAUSE, id="p-2", rev=2, owner="bob"))
        return True

    monkeypatch.setattr(release, "confirmed", agreed)

    cli.run(["release", "--all"])

    assert "p-1 stop class new raid by ann" in told[0]
    assert {id_: each.released_by for id_, each in board(store).items()} == {"p-1": "ann", "p-2": None}


@pytest.fixture
def by_file(store: MemoryBoardStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The gate at hand obeys pause `file-1` of its break-glass file, which lifts `file-2`."""
    glass = tuple(replace(PAUSE, id=id_, scope=Scope(frozenset(("regular",)))) for id_ in ("file-1", "file-2"))
    said = board_page(Board(break_glass=glass), NOON_US, {"lifted": ["file-2"]}, NOON_US)
    with page(lambda _: (200, said)) as url:
        monkeypatch.setenv("UPLOAD_GATE_ADMIN", url)
        yield


@pytest.mark.usefixtures("by_file")
@pytest.mark.parametrize("shared", [False, True])
def test_a_release_of_all_names_what_the_break_glass_file_holds_and_how_to_release_that(
    store: MemoryBoardStore, put: Callable[..., None], capsys: pytest.CaptureFixture[str], shared: bool
) -> None:
    put(*[PAUSE] * shared)

    cli.run(["release", "--all", "--yes"])

    err = " ".join(capsys.readouterr().err.split())
    assert "note: pause file-1 (stop class regular, raid, by ann, 59m left) is in the break-glass file" in err
    assert "upload-gate release file-1 --direct file" in err
    assert "file-2" not in err
    assert ("no other pause is in force; nothing was changed" in err) is not shared
    assert {id_: each.released_by for id_, each in board(store).items()} == ({"p-1": "ann"} if shared else {})


@pytest.mark.usefixtures("by_file")
@pytest.mark.parametrize("typed", [("release",), ("extend", "--for", "2h"), ("approve", "--yes")])
def test_a_pause_of_the_break_glass_file_is_no_shared_one_and_is_not_said_to_be_missing(
    store: MemoryBoardStore, put: Callable[..., None], capsys: pytest.CaptureFixture[str], typed: tuple[str, ...]
) -> None:
    put(PAUSE)

    codes = [cli.run([*typed, id_]) for id_ in ("file-1", "file-3")]

    err = " ".join(capsys.readouterr().err.split())
    assert codes == [2, 2]
    assert "pause file-1 is in the break-glass file of this host's gate, and no shared pause" in err
    assert "`upload-gate release file-1 --direct file" in err
    assert "there is no pause file-3" in err
    assert board(store) == {"p-1": PAUSE}


def test_a_release_of_all_that_is_declined_changes_nothing(
    store: MemoryBoardStore, put: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(PAUSE)
    monkeypatch.setattr(release, "confirmed", lambda _: False)

    assert cli.run(["release", "--all"]) == 2
    assert board(store) == {"p-1": PAUSE}


def test_a_withdrawn_proposal_is_described_as_never_in_force(
    store: MemoryBoardStore, put: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    put(replace(PAUSE, proposal=Proposal(PauseChange.SET, "bob", NOON_US, identity="2@b")))

    cli.run(["release", "p-1"])

    assert "released p-1: stop uploads of class new, raid, by ann, set 1m ago; it never was in force" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(("typed", "ended"), [((), 2), (("--yes",), 3)])
def test_an_approval_shows_what_it_approves_and_asks_at_a_terminal(
    store: MemoryBoardStore, put: Callable[..., None], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], typed: tuple[str, ...], ended: int,
) -> None:  # fmt: skip
    put(replace(PAUSE, proposal=Proposal(PauseChange.RELEASE, "bob", NOON_US, ramp_us=600_000_000, identity="2@b")))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(approve, "confirmed", lambda _: False)

    code = cli.run(["approve", "p-1", *typed])

    assert code == ended
    assert (board(store)["p-1"].released_at_us is None) is (ended == 2)
    assert "bob (2@b) proposes to release it, with accounts back over 10m:" in capsys.readouterr().err


def test_an_approval_of_what_changed_while_it_was_asked_about_is_refused(
    store: MemoryBoardStore, put: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    longer = Proposal(PauseChange.EXTEND, "bob", NOON_US, expires_at_us=NOON_US + 30 * HOUR_US, identity="2@b")
    put(replace(PAUSE, proposal=longer))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)

    def agreed(_: str) -> bool:
        ends = Proposal(PauseChange.RELEASE, "bob", NOON_US + 1, ramp_us=0, identity="2@b")
        put(replace(PAUSE, rev=2, proposal=ends))
        return True

    monkeypatch.setattr(approve, "confirmed", agreed)

    code = cli.run(["approve", "p-1"])

    assert code == 3
    assert board(store)["p-1"].released_at_us is None
    assert "bob has proposed something else for pause p-1 meanwhile; nothing was approved" in capsys.readouterr().err


def test_a_proposal_that_takes_the_place_of_anothers_says_so(
    store: MemoryBoardStore, put: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    put(replace(PAUSE, proposal=Proposal(PauseChange.RELEASE, "bob", NOON_US, ramp_us=0, identity="2@b")))

    code = cli.run(["extend", "p-1", "--for", "30h", "--propose"])

    assert code == 3
    assert "warning: this replaces what bob proposed, to release it" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["pause", "release"])
def test_ctrl_c_while_gates_are_waited_for_does_not_say_that_the_change_was_cancelled(
    command: str, store: MemoryBoardStore, put: Callable[..., None], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    async def interrupted(self: Operate, change: Pause, deadline_s: float) -> Convergence:
        raise asyncio.CancelledError

    monkeypatch.setattr(Operate, "converged", interrupted)
    put(PAUSE)
    typed = ["pause", "--class", "new", "--reason", "raid", "--yes"] if command == "pause" else ["release", "p-1"]

    code = cli.run(typed)

    assert code == NotConverged.exit_code
    assert "is written (rev 2) and stays so; the wait for the gates was cancelled" in capsys.readouterr().err
    assert max(pause.rev for pause in board(store).values()) == 2


def test_a_message_of_bytes_that_are_no_text_keeps_no_pause_from_being_set(
    store: MemoryBoardStore, capsys: pytest.CaptureFixture[str]
) -> None:
    code = cli.run(["pause", "--class", "new", "--reason", "raid", "-m", "M\udcfcller", "--yes", "-o", "json"])

    (pause,) = board(store).values()
    assert code == NotConverged.exit_code  # there is no gate
    assert pause.text == "M\ufffdller"
    assert json.loads(capsys.readouterr().out)["id"] == pause.id


@pytest.mark.parametrize("command", [["pause", "--class", "new", "--reason", "raid"], ["release", "p-1"]])
def test_a_change_cannot_wait_for_a_second_person_and_go_ahead(
    command: list[str], store: MemoryBoardStore, put: Callable[..., None]
) -> None:
    put(PAUSE)

    assert cli.run([*command, "--propose", "--emergency", "nobody awake"]) == 2
    assert board(store) == {"p-1": PAUSE}


@pytest.mark.parametrize(
    ("flags", "outcome"),
    [
        (("--class", "new"), ""),
        (("--class", "new", "--for", "30h"), "it would be refused: a pause that lasts over 24h"),
        (("--class", "new", "--for", "5m", "--machine"), "it would be refused: a machine's pause lasts at most 60 s"),
        (("--all", "--propose"), "it would wait for a second person"),
    ],
)
def test_a_dry_run_says_what_would_become_of_the_pause_and_writes_nothing(
    store: MemoryBoardStore, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], outcome: str
) -> None:
    code = cli.run(["pause", *flags, "--reason", "raid", "--dry-run", "-o", "json"])

    out, err = capsys.readouterr()
    assert (code, board(store), (tmp_path / "audit.jsonl").exists()) == (0, {}, False)
    assert json.loads(out)["outcome"].startswith(outcome)
    assert f"dry run: nothing was changed{'; ' if outcome else ''}{outcome}" in err


def test_an_extension_is_no_longer_than_a_pause_may_be(
    store: MemoryBoardStore, put: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    put(PAUSE)

    code = cli.run(["extend", "p-1", "--for", "31d", "--emergency", "a long case"])

    assert (code, board(store)) == (2, {"p-1": PAUSE})
    assert "--for: 31d is longer than 30d" in capsys.readouterr().err


@pytest.mark.parametrize(("typed", "ended"), [((), 2), (("--yes",), 3)])
def test_a_pause_that_only_counts_is_shown_with_what_it_would_hold_before_it_acts(
    store: MemoryBoardStore, put: Callable[..., None], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], typed: tuple[str, ...], ended: int,
) -> None:  # fmt: skip
    put(replace(PAUSE, mode=PauseMode.DRY_RUN))
    said = Acknowledgement("g-1", "http://127.0.0.1:9", 1, NOON_US, recent={"new": (30, 20, 10)}, recent_s=900)
    asyncio.run(store.acknowledge(said))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(extend, "confirmed", lambda _: False)

    code = cli.run(["extend", "p-1", "--enforce", *typed])

    assert code == ended
    assert (board(store)["p-1"].mode is PauseMode.DRY_RUN) is (ended == 2)
    err = " ".join(capsys.readouterr().err.split())
    assert "p-1 only count (would stop) class new raid by ann 59m left" in err
    assert "in the last 15m it would have stopped 20 of 20 uploads let in (100%), as 1 gate counted" in err


def test_a_pause_that_is_made_longer_is_not_asked_about(
    store: MemoryBoardStore, put: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(PAUSE)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(extend, "confirmed", lambda _: False)

    cli.run(["extend", "p-1", "--for", "2h", "--yes"])

    assert board(store)["p-1"].expires_at_us > PAUSE.expires_at_us


def test_an_extension_without_a_length_is_not_offered_as_a_default(capsys: pytest.CaptureFixture[str]) -> None:
    cli.run(["extend", "--help"])

    assert "default: 0" not in capsys.readouterr().out
