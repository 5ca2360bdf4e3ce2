"""`pause`, `release` and `status` as typed, against a real Redis and real gates."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gate.cli.http_json import get_json
from gate.errors import UploadGateError
from gate.local.free_port import free_port
from gate.ports.boards import LIVE_WITHIN_US, Acknowledgement
from gate.stores.redis.boards import RedisBoardStore
from tests.servers import running_redis
from tests.waiting import eventually, wait_until

PROGRAM = str(Path(sys.executable).parent / "upload-gate")
PAUSE_NEW = ("pause", "--class", "new", "--for", "10m", "--reason", "raid", "-m", "bots", "--owner", "ann", "--yes")


@dataclass
class Typed:
    """A system, and a terminal in which commands are typed to it."""

    home: Path
    redis: str
    prefix: str
    gates: list[subprocess.Popen[bytes]] = field(default_factory=list)
    ports: list[tuple[int, int]] = field(default_factory=list)

    def environment(self, gate: int = 0) -> dict[str, str]:
        port, admin = self.ports[gate]
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("UPLOAD_GATE_")},
            "UPLOAD_GATE_STATE": str(self.home / f"gate-{gate}"),
            "UPLOAD_GATE_REDIS": self.redis,
            "UPLOAD_GATE_PREFIX": self.prefix,
            "UPLOAD_GATE_SALT": "a salt for this test",
            "UPLOAD_GATE_PORT": str(port),
            "UPLOAD_GATE_ADMIN_PORT": str(admin),
            "UPLOAD_GATE_GATE": f"http://127.0.0.1:{port}",
            "UPLOAD_GATE_ADMIN": f"http://127.0.0.1:{admin}",
        }

    def start_gate(self) -> None:
        self.ports.append((free_port(), free_port()))
        number = len(self.ports) - 1
        (self.home / f"gate-{number}").mkdir()
        with (self.home / f"gate-{number}.log").open("wb") as log:
            self.gates.append(subprocess.Popen([PROGRAM, "serve"], env=self.environment(number), stderr=log))
        wait_until(lambda: self._sees_the_board(number), timeout_s=30)

    def _sees_the_board(self, number: int) -> bool:
        assert self.gates[number].poll() is None, (self.home / f"gate-{number}.log").read_text()
        try:
            answer = get_json(f"http://127.0.0.1:{self.ports[number][1]}/v1/board")
        except UploadGateError:
            return False
        name = f"{socket.gethostname()}:{self.ports[number][0]}"
        seen = json.loads(self.run("status", "-o", "json").stdout)["gates"]
        return isinstance(answer, dict) and any(gate["gate"] == name for gate in seen)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAM, *arguments],
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def json(self, *arguments: str, code: int = 0) -> Any:
        """The JSON a command prints, which must be all of its stdout."""
        done = self.run(*arguments, "-o", "json")
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)

    def decision(self, class_: str) -> str:
        return str(self.json("check", "--account", f"a-{class_}", "--class", class_)["decision"])


@contextmanager
def typed(home: Path, redis: str, prefix: str, gates: int) -> Iterator[Typed]:
    with ExitStack() as stack:
        system = Typed(home, redis, prefix)
        stack.callback(_end, system.gates)
        for _ in range(gates):
            system.start_gate()
        if not gates:
            system.ports.append((free_port(), free_port()))
        yield system


def _end(gates: list[subprocess.Popen[bytes]]) -> None:
    for gate in gates:
        gate.terminate()
    for gate in gates:
        gate.wait(20)


@pytest.fixture
def system(tmp_path: Path, redis_url: str, unique: Callable[[], str]) -> Iterator[Typed]:
    with typed(tmp_path, redis_url, f"{unique()}:", gates=1) as running:
        yield running


def test_a_pause_as_typed_stops_its_class_and_its_release_lets_it_in_again(system: Typed) -> None:
    before = system.decision("new")

    paused = system.run(*PAUSE_NEW)
    id_ = paused.stdout.strip()
    during = system.decision("new"), system.decision("regular")
    status = system.json("status")
    words = system.run("status").stdout
    released = system.run("release", id_)
    after = system.decision("new")

    assert (before, during, after) == ("allow", ("paused", "allow"), "allow")
    assert paused.returncode == 0, paused.stderr
    assert f"pause {id_} is obeyed by 1 of 1 gates (rev 1, " in paused.stderr
    (shown,) = status["pauses"]
    assert (shown["id"], shown["scope"], shown["reason"], shown["owner"]) == (id_, {"classes": ["new"]}, "raid", "ann")
    assert 0 < shown["seconds_left"] <= 603
    assert status["source"] == "redis"
    assert all(word in words for word in (id_, "class new", "raid", "ann", "left"))
    assert released.returncode == 0, released.stderr
    assert released.stdout.strip() == id_
    assert "is obeyed by 1 of 1 gates (rev 2, " in released.stderr


def test_json_tells_who_obeys_and_how_soon(system: Typed) -> None:
    said = system.json("pause", "--all", "--action", "review", "--reason", "drill", "--for", "90s", "--yes")

    (gate,) = said["gates"]
    assert gate["obeys"] is True
    assert gate["url"] == f"http://127.0.0.1:{system.ports[0][0]}"
    assert 0 <= gate["seconds"] <= said["accepted_to_obeyed_seconds"] < 5
    assert (said["scope"], said["covers"], said["action"]) == ({}, "platform-wide", "review")
    assert system.decision("regular") == "review"


def test_what_cannot_be_done_ends_with_its_code_and_changes_nothing(system: Typed) -> None:
    cancelled = system.run(*PAUSE_NEW[:-1])
    unknown_id = system.run("release", "p-none")
    too_long = system.run("pause", "--all", "--reason", "raid", "--for", "25h", "--yes")
    dry = system.json(*PAUSE_NEW, "--dry-run")

    assert [done.returncode for done in (cancelled, unknown_id, too_long)] == [2, 2, 3]
    assert "would have stopped" in cancelled.stderr
    assert "no pause p-none" in unknown_id.stderr
    assert dry["id"] is None
    assert system.json("status")["rev"] == 0


def test_a_check_is_answered_in_a_sentence_and_says_whom_it_asked(system: Typed) -> None:
    done = system.run("check", "--account", "a-17", "--class", "new")
    hostile = system.run("check", "--account", "a-\x1b[2J", "--class", "new")

    assert done.returncode == 0
    assert done.stdout == "allow: the upload of a-17 is let in (stage default, reason allow)\n"
    assert done.stderr == f"asking the gate at {system.environment()['UPLOAD_GATE_GATE']} (UPLOAD_GATE_GATE)\n"
    assert hostile.returncode == 2
    assert "account.id" in hostile.stderr
    assert "\x1b" not in hostile.stdout + hostile.stderr


def test_a_class_that_the_gates_policy_does_not_have_is_warned_about_and_paused(system: Typed) -> None:
    paused = system.run("pause", "--class", "Nw", "--reason", "raid", "--yes")

    assert paused.returncode == 0, paused.stderr
    assert "the class nw is not in the gate's policy; pausing all the same. Did you mean new?" in paused.stderr
    assert system.json("status")["pauses"][0]["scope"] == {"classes": ["nw"]}


def test_a_pause_whose_output_nobody_reads_waits_for_the_gates_all_the_same(system: Typed) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [PROGRAM, "pause", "--class", "new", "--reason", "raid", "--yes"], env=system.environment(), stdout=write,
            stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
    finally:
        os.close(write)

    assert done.returncode == 0, done.stderr
    assert "is obeyed by 1 of 1 gates" in done.stderr
    assert "Traceback" not in done.stderr


def test_several_pauses_are_released_at_once_with_one_document_and_those_that_cannot_be_are_named(
    system: Typed,
) -> None:
    ids = [system.json("pause", "--class", "new", "--reason", "raid", "--yes")["id"] for _ in range(2)]
    later = system.json("pause", "--class", "trusted", "--reason", "raid", "--start-in", "1h", "--yes")["id"]

    some = system.run("release", ids[0], "p-none", ids[0], "-o", "json")
    rest = system.run("release", "--all", "--yes", "-o", "json")

    told = json.loads(some.stdout)
    assert some.returncode == 2
    assert [one["id"] for one in told["releases"]] == [ids[0]]
    assert "there is no pause p-none" in told["problems"][0]
    assert rest.returncode == 0, rest.stderr
    assert [one["id"] for one in json.loads(rest.stdout)["releases"]] == [ids[1]]
    assert f"pause {later} begins" in rest.stderr


def test_a_release_says_what_it_released_and_what_still_pauses_those_uploads(system: Typed) -> None:
    narrow = system.run(*PAUSE_NEW).stdout.strip()
    wide = system.run("pause", "--class", "new", "--class", "regular", "--reason", "scam-wave", "--yes").stdout.strip()

    released = system.run("release", narrow)

    assert released.returncode == 0, released.stderr
    assert f'released {narrow}: stop uploads of class new, raid "bots", by ann, set ' in released.stderr
    assert f"those uploads stay under pause {wide} (stop class new|regular, scam-wave" in released.stderr
    assert f"in Redis at {system.redis} (UPLOAD_GATE_REDIS)" in released.stderr


async def test_a_gate_that_does_not_obey_is_named_and_a_silent_one_too(system: Typed) -> None:
    store = RedisBoardStore(system.redis, prefix=system.prefix)
    await store.open()
    nowhere = f"http://127.0.0.1:{free_port()}"
    await store.acknowledge(Acknowledgement("g-silent", nowhere, 0, 0))
    await eventually(lambda: _not_live(store, "g-silent"), timeout_s=30)
    command = await asyncio.create_subprocess_exec(
        PROGRAM, *PAUSE_NEW, "-o", "json", env=system.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    ending = asyncio.create_task(command.communicate())

    while not ending.done():
        await store.acknowledge(Acknowledgement("g-stuck", nowhere, 0, 0))
        await asyncio.wait([ending], timeout=0.2)
    out, err = await ending

    await store.close()
    said = json.loads(out)
    assert command.returncode == 3
    assert {gate["gate"]: gate["obeys"] for gate in said["gates"]} == {
        f"{socket.gethostname()}:{system.ports[0][0]}": True,
        "g-stuck": False,
    }
    assert said["accepted_to_obeyed_seconds"] is None
    assert [gate["gate"] for gate in said["silent"]] == ["g-silent"]
    assert b"not: g-stuck at" in err
    assert b"gate g-silent at" in err


async def _not_live(store: RedisBoardStore, name: str) -> bool:
    return all(gate.gate != name for gate in (await store.gates(LIVE_WITHIN_US)).acknowledgements)


def test_without_a_gate_the_pause_is_written_and_the_command_says_nobody_obeys(
    tmp_path: Path, redis_url: str, unique: Callable[[], str]
) -> None:
    with typed(tmp_path, redis_url, f"{unique()}:", gates=0) as system:
        done = system.run(*PAUSE_NEW)

        assert done.returncode == 3
        assert "no gate is live" in done.stderr
        assert [pause["id"] for pause in system.json("status", code=3)["pauses"]] == [done.stdout.strip()]


def test_five_pauses_typed_at_once_are_all_kept(tmp_path: Path, redis_url: str, unique: Callable[[], str]) -> None:
    with typed(tmp_path, redis_url, f"{unique()}:", gates=0) as system:
        running = [
            subprocess.Popen([PROGRAM, *PAUSE_NEW], env=system.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for _ in range(5)
        ]  # fmt: skip
        ids = {process.communicate(timeout=60)[0].decode().strip() for process in running}

        status = system.json("status", code=3)  # no gate is there to obey them
        assert len(ids) == 5
        assert {pause["id"] for pause in status["pauses"]} == ids
        assert sorted(pause["rev"] for pause in status["pauses"]) == list(range(1, 6))


def test_without_redis_status_asks_a_gate_and_without_both_it_says_so(tmp_path: Path) -> None:
    with running_redis(tmp_path / "redis") as redis, typed(tmp_path, redis.url, "ug:", gates=1) as system:
        id_ = system.run(*PAUSE_NEW).stdout.strip()
        redis.kill()

        status = system.run("status", "-o", "json")
        during = system.decision("new")
        pause = system.run(*PAUSE_NEW)
        _end(system.gates)
        nothing = system.run("status")

        said = json.loads(status.stdout)
        assert (said["source"], said["rev"], [shown["id"] for shown in said["pauses"]]) == ("gate", 1, [id_])
        assert "Redis cannot be read" in status.stderr
        assert during == "paused"
        assert (pause.returncode, pause.stdout) == (1, "")
        assert "break-glass" in pause.stderr
        assert nothing.returncode == 1
        assert redis.url in nothing.stderr
        assert system.environment()["UPLOAD_GATE_ADMIN"] in nothing.stderr
