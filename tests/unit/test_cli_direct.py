"""`--direct file`: the host's own file, with a gate of the host that answers, asks for a token, or is away."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from email.message import Message
from pathlib import Path

import pytest

from gate.cli import direct
from gate.cli import main as cli
from gate.core.pause.board import Board
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Action, Scope
from gate.errors import NotConverged, StateUnreadable
from gate.local.free_port import free_port
from gate.records.board_page import board_page
from gate.records.break_glass_document import decode_break_glass, with_pause
from gate.stores.disk.break_glass import rewrite
from tests.pages import page

NOON_US = 1_800_000_000_000_000
PAUSE = Pause("p-1", 1, Scope(), Action.STOP, "raid", "", "ann", None, NOON_US + 60_000_000, set_at_us=NOON_US)

Run = Callable[..., tuple[int, str]]


@contextmanager
def a_gate(file: Path, token: str | None = None) -> Iterator[str]:
    """A gate's board page that knows pause p-1 and what stands in the file."""

    def answer(headers: Message) -> tuple[int, bytes]:
        refused = token is not None and headers["Authorization"] != f"Bearer {token}"
        content = json.loads(file.read_bytes()) if file.exists() else {}
        pauses = [{"id": "p-1"}, *content.get("pauses", ())]
        return 401 if refused else 200, json.dumps({"pauses": pauses, "lifted": content.get("releases", [])}).encode()

    with page(answer) as url:
        yield url


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "up.json").write_text("{}")
    monkeypatch.setenv("UPLOAD_GATE_STATE", str(tmp_path))
    monkeypatch.setenv("UPLOAD_GATE_OWNER", "ann")
    return tmp_path


@pytest.fixture
def run(home: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    def typed(*words: str) -> tuple[int, str]:
        code = cli.run([*words, "--direct", "file"])
        return code, " ".join(capsys.readouterr().err.split())

    return typed


def test_a_release_by_file_shows_the_gate_its_admin_token(
    home: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPLOAD_GATE_ADMIN_TOKEN", "ugt_secret")

    with a_gate(home / "break-glass.json", "ugt_secret") as url:
        code, said = run("release", "p-1", "--admin", url)

    assert (code, "release of p-1 is obeyed by the gate" in said) == (0, True)


def test_a_mistyped_id_is_an_error_and_no_release_that_is_obeyed(home: Path, run: Run) -> None:
    file = home / "break-glass.json"

    with a_gate(file) as url:
        code, said = run("release", "p-l", "--admin", url)

    assert (code, file.exists()) == (2, False)
    assert "knows no pause p-l" in said


def test_a_pause_by_file_that_begins_later_is_obeyed_before_it_begins(
    home: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    now_us = time.time_ns() // 1_000

    def answer(_: Message) -> tuple[int, bytes]:
        read = decode_break_glass((home / "break-glass.json").read_bytes(), now_us)
        return 200, board_page(Board({}, read.pauses), now_us, {}, now_us)

    with page(answer) as url:
        words = ("pause", "--class", "new", "--reason", "raid", "--start-in", "1h", "--yes", "--admin", url)
        code, said = run(*words)
        shown = cli.run(
            ["status", "--redis", f"redis://127.0.0.1:{free_port()}/0", "--admin", url, "--state", str(home)]
        )

    assert (code, shown) == (0, NotConverged.exit_code)  # whether the other gates obey is unknown without Redis
    assert "is obeyed by the gate of this host" in said
    shown_text = capsys.readouterr().out
    assert "BEGINS" in shown_text
    assert "FROM THE HOST'S BREAK-GLASS FILE" in shown_text


def test_the_file_lifts_a_pause_that_has_not_begun_and_one_that_ramps(home: Path, run: Run) -> None:
    later = replace(PAUSE, id="p-2", starts_at_us=NOON_US + 1, expires_at_us=NOON_US + 2)
    ramps = replace(PAUSE, id="p-3", released_at_us=NOON_US, ramp_us=60_000_000)

    def answer(_: Message) -> tuple[int, bytes]:
        file = home / "break-glass.json"
        lifted = json.loads(file.read_bytes())["releases"] if file.exists() else []
        return 200, board_page(Board({"p-2": later, "p-3": ramps}), NOON_US, {"lifted": lifted}, NOON_US)

    with page(answer) as url:
        code, _ = run("release", "p-2", "p-3", "--admin", url)

    assert code == 0


def test_without_a_gate_that_answers_a_release_is_written_all_the_same(home: Path, run: Run) -> None:
    code, _ = run("release", "p-9", "--admin", "http://127.0.0.1:9")

    assert code == 3
    assert json.loads((home / "break-glass.json").read_bytes())["releases"] == ["p-9"]


def test_json_names_a_pause_that_is_written_and_not_known_to_be_obeyed(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(direct, "OBEYED_WITHIN_S", 0.1)
    away = f"http://127.0.0.1:{free_port()}"

    ended = cli.run(
        ["pause", "--class", "new", "--reason", "raid", "--yes", "--admin", away, "--direct", "file", "-o", "json"]
    )
    told = json.loads(capsys.readouterr().out)

    (written,) = json.loads((home / "break-glass.json").read_bytes())["pauses"]
    assert ended == 3
    assert (told["id"], told["obeyed"]) == (written["id"], False)


def test_json_of_several_releases_is_one_document(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with a_gate(home / "break-glass.json") as url:
        cli.run(["pause", "--class", "new", "--reason", "raid", "--yes", "--admin", url, "--direct", "file"])
        second = capsys.readouterr().out.strip()
        ended = cli.run(["release", "p-1", second, "p-9", "--admin", url, "--direct", "file", "-o", "json"])
    told = json.loads(capsys.readouterr().out)

    assert ended == 2
    assert [(each["id"], each["obeyed"]) for each in told["releases"]] == [("p-1", True), (second, True)]
    assert ["p-9" in problem for problem in told["problems"]] == [True]


def test_a_mistyped_id_among_several_keeps_no_pause_from_being_lifted(home: Path, run: Run) -> None:
    file = home / "break-glass.json"

    with a_gate(file) as url:
        code, said = run("release", "p-l", "p-1", "p-1", "--admin", url)

    assert code == 2
    assert json.loads(file.read_bytes())["releases"] == ["p-1"]
    assert "knows no pause p-l" in said
    assert "p-1 is obeyed by the gate" in said


@pytest.mark.parametrize("flags", [("--propose",), ("--machine",), ("--ramp", "10m"), ("--all",)])
def test_a_release_by_file_refuses_what_the_file_cannot_do(home: Path, run: Run, flags: tuple[str, ...]) -> None:
    named = () if flags == ("--all",) else ("p-1",)

    code, said = run("release", *named, *flags, "--admin", "http://127.0.0.1:9")

    assert (code, (home / "break-glass.json").exists()) == (2, False)
    assert f"{flags[0]} cannot be used with --direct file" in said


def test_bytes_that_are_not_text_are_not_an_id_for_the_file(home: Path, run: Run) -> None:
    code, said = run("release", "\udcff", "--admin", "http://127.0.0.1:9")

    assert (code, (home / "break-glass.json").exists()) == (2, False)
    assert "no pause \\udcff" in said
    assert json.loads((home / "audit.jsonl").read_bytes())["pause"] == "\ufffd"


@pytest.mark.parametrize("flag", ["--propose", "--machine"])
def test_what_the_file_cannot_keep_is_refused_and_not_forgotten(home: Path, run: Run, flag: str) -> None:
    code, said = run("pause", "--class", "new", "--reason", "raid", "--yes", flag, "--admin", "http://127.0.0.1:9")

    assert (code, (home / "break-glass.json").exists()) == (2, False)
    assert "--direct" in said


def test_an_emergency_stands_in_the_file_and_in_the_audit_log(home: Path, run: Run) -> None:
    words = ("pause", "--class", "new", "--for", "48h", "--reason", "raid", "--yes", "--emergency", "all is down")

    code, _ = run(*words, "--admin", "http://127.0.0.1:9")

    pause = json.loads((home / "break-glass.json").read_bytes())["pauses"][0]
    recorded = json.loads((home / "audit.jsonl").read_bytes())
    assert code == 3
    assert (pause["emergency"], recorded["emergency"]) == ("all is down", "all is down")

    run("release", "p-9", "--emergency", "ann is asleep", "--admin", "http://127.0.0.1:9")

    assert json.loads((home / "audit.jsonl").read_bytes().splitlines()[-1])["emergency"] == "ann is asleep"


def test_two_operators_at_once_lose_no_pause(tmp_path: Path) -> None:
    file = tmp_path / "break-glass.json"

    def put(number: int) -> None:
        pause = replace(PAUSE, id=f"p-{number}")
        rewrite(file, lambda data, at_us: with_pause(data, at_us, pause))

    with ThreadPoolExecutor(8) as operators:
        list(operators.map(put, range(64)))

    found = decode_break_glass(file.read_bytes(), NOON_US)
    assert {pause.id for pause in found.pauses} == {f"p-{number}" for number in range(64)}


def test_a_pause_too_long_for_the_file_leaves_the_file_as_it_was() -> None:
    before = with_pause(None, NOON_US, PAUSE)
    long = replace(PAUSE, id="p-2", scope=Scope(accounts=frozenset(f"{n:0200d}" for n in range(2_000))))

    with pytest.raises(StateUnreadable, match="a file of more than"):
        with_pause(before, NOON_US, long)
