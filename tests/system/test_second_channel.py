"""Two ways into the kill switch, each alone enough, and the host's file: with real gates, Redis and Kafka that fail."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from aiokafka import AIOKafkaProducer

from gate.cli.http_json import get_json
from gate.core.duration import HOUR_US
from gate.core.pause.board import by_local_clock
from gate.errors import UploadGateError
from gate.local.free_port import free_port
from gate.local.redis import LocalRedis
from gate.records.audit import check_chain
from gate.records.topics import Topics
from gate.stores.disk.snapshot import BoardSnapshot
from gate.stores.kafka.audit import read_audit
from gate.stores.kafka.boards import KafkaBoardStore
from gate.stores.kafka.topics import declare
from gate.stores.redis.connections.line import Line
from tests.proxies import FaultProxy
from tests.servers import running_kafka, running_redis
from tests.waiting import eventually, wait_until

pytestmark = pytest.mark.long

PROGRAM = str(Path(sys.executable).parent / "upload-gate")
USERS = Path(__file__).parents[2] / "deploy" / "redis" / "users.acl"
RAID = ("--class", "new", "--for", "1h", "--reason", "raid", "--yes")


@dataclass
class System:
    """Gates on their own hosts (a state directory each), one Redis, one Kafka, and a terminal on the first host."""

    home: Path
    redis: LocalRedis
    kafka: str
    prefix: str
    ports: list[tuple[int, int]] = field(default_factory=list)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    redis_of: dict[int, str] = field(default_factory=dict)
    """The way to Redis of a host that has one of its own."""
    kafka_of: dict[int, str] = field(default_factory=dict)

    def environment(self, host: int) -> dict[str, str]:
        port, admin = self.ports[host]
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("UPLOAD_GATE_")},
            "UPLOAD_GATE_STATE": str(self.home / f"host-{host}"), "UPLOAD_GATE_REDIS": self.redis_of.get(host, self.redis.url),
            "UPLOAD_GATE_KAFKA": self.kafka_of.get(host, self.kafka), "UPLOAD_GATE_TOPIC_PREFIX": self.prefix,
            "UPLOAD_GATE_SALT": "a salt for this test", "UPLOAD_GATE_NAME": f"g-{host}",
            "UPLOAD_GATE_PORT": str(port), "UPLOAD_GATE_ADMIN_PORT": str(admin), "UPLOAD_GATE_OWNER": "ann",
            "UPLOAD_GATE_GATE": f"http://127.0.0.1:{port}", "UPLOAD_GATE_ADMIN": f"http://127.0.0.1:{admin}",
        }  # fmt: skip

    def with_users(self) -> None:
        """Give Redis the users of the deployment: new gates come as `gate`, the terminal of host 0 as `oncall`."""
        for line in USERS.read_text().splitlines():
            _, name, *rules = line.split()
            self.redis_command("ACL", "SETUSER", name, "reset", *rules)
        self.redis_of[0] = self.redis_as("oncall")

    def redis_as(self, name: str) -> str:
        return self.redis.url.replace("redis://", f"redis://{name}:{name.upper()}_PASSWORD@")

    def redis_command(self, *command: str) -> Any:
        async def execute() -> Any:
            line = Line(self.redis.url)
            try:
                return await line.execute(*command, within_s=5.0)
            finally:
                await line.close()

        return asyncio.run(execute())

    def start_gate(self) -> int:
        host = len(self.ports)
        self.ports.append((free_port(), free_port()))
        (self.home / f"host-{host}").mkdir()
        self.processes.append(self._serve(host))
        wait_until(lambda: self.paused(host) is not None, timeout_s=30)
        return host

    def restart_gate(self, host: int) -> None:
        self.processes[host] = self._serve(host)
        wait_until(lambda: self.paused(host) is not None, timeout_s=30)

    def _serve(self, host: int) -> subprocess.Popen[bytes]:
        with (self.home / f"host-{host}.log").open("ab") as log:
            return subprocess.Popen([PROGRAM, "serve"], env=self.environment(host), stderr=log)

    def paused(self, host: int) -> list[str] | None:
        """What the gate of a host obeys, None where it does not answer."""
        try:
            page = get_json(f"http://127.0.0.1:{self.ports[host][1]}/v1/board")
        except UploadGateError:
            return None
        assert isinstance(page, dict)
        return sorted(pause["id"] for pause in page["pauses"] if pause["id"] not in page["lifted"])

    async def paused_soon(self, host: int, id_: str) -> bool:
        """Whether the gate of a host obeys the pause now."""
        return id_ in (await asyncio.to_thread(self.paused, host) or [])

    def run(self, *arguments: str, host: int = 0) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAM, *arguments], env=self.environment(host), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip

    def done(self, *arguments: str, host: int = 0) -> str:
        """The id that a command printed, which ended well."""
        done = self.run(*arguments, host=host)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def decision(self, host: int, class_: str = "new") -> str:
        done = self.run("check", "--account", "a-1", "--class", class_, "-o", "json", host=host)
        return str(json.loads(done.stdout)["decision"])

    def in_kafka(self) -> set[str]:
        """The ids of the pauses in Kafka."""

        async def read() -> set[str]:
            async with KafkaBoardStore(self.kafka, Topics(self.prefix).pauses.name, deadline_s=20.0) as store:
                return set((await store.read()).pauses)

        return asyncio.run(read())

    def stored(self) -> dict[str, Any]:
        """The pauses in Redis by id."""

        async def read() -> bytes | None:
            line = Line(self.redis.url)
            try:
                found: bytes | None = await line.execute(b"HGET", b"ug:board", b"document", within_s=5.0)
                return found
            finally:
                await line.close()

        document = asyncio.run(read())
        return {} if document is None else {entry["id"]: entry for entry in json.loads(document)["pauses"]}


@contextmanager
def frozen(redis: LocalRedis) -> Iterator[None]:
    assert redis.pid is not None
    os.kill(redis.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(redis.pid, signal.SIGCONT)


@pytest.fixture
def system(tmp_path: Path, kafka_bootstrap: str, unique: Callable[[], str]) -> Iterator[System]:
    with ExitStack() as stack:
        redis = stack.enter_context(running_redis(tmp_path / "redis"))
        prefix = f"{unique()}."
        asyncio.run(declare(kafka_bootstrap, Topics(prefix)))
        running = System(tmp_path, redis, kafka_bootstrap, prefix)
        stack.callback(_end, running.processes)
        for _ in range(2):
            running.start_gate()
        yield running


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait(20)


def test_a_release_gets_through_kafka_with_redis_frozen_and_holds_when_it_is_back(system: System) -> None:
    set_ = system.done("pause", *RAID)
    wait_until(lambda: set_ in system.run("status", "-o", "json").stdout)
    assert system.decision(0) == system.decision(1) == "paused"

    with frozen(system.redis):
        shut = system.run("release", set_, "--yes")
        released = system.run("release", set_, "--direct", "kafka", "--yes")
        during = [system.paused(host) for host in (0, 1)]

    assert shut.returncode == 1
    assert "--direct kafka" in shut.stderr
    assert released.returncode == 0, released.stderr
    assert "is obeyed by 2 of 2 gates" in released.stderr
    assert during == [[], []]
    wait_until(lambda: "released_at" in system.stored()[set_])
    assert [system.paused(host) for host in (0, 1)] == [[], []]
    assert system.decision(0) != "paused"


def test_a_pause_gets_through_kafka_with_redis_down_and_reaches_a_redis_that_lost_everything(system: System) -> None:
    system.redis.kill()
    set_ = system.done("pause", *RAID, "--direct", "kafka")

    assert [system.paused(host) for host in (0, 1)] == [[set_], [set_]]
    started_in_the_outage = system.start_gate()
    wait_until(lambda: system.paused(started_in_the_outage) == [set_])
    system.redis.start()
    wait_until(lambda: set_ in system.stored(), timeout_s=20)
    later = system.done("pause", "--class", "trusted", "--reason", "raid", "--yes")
    assert [system.paused(host) for host in (0, 1)] == [sorted((set_, later))] * 2


def test_the_hosts_file_pauses_and_lifts_on_its_host_alone_and_keeps_doing_so_after_a_restart(system: System) -> None:
    everywhere = system.done("pause", *RAID)
    with frozen(system.redis):
        here = system.done("pause", "--class", "trusted", "--reason", "raid", "--yes", "--direct", "file", host=1)
        lifted = system.run("release", everywhere, "--direct", "file", host=1)

        assert lifted.returncode == 0, lifted.stderr
        assert system.paused(0) == [everywhere]
        assert system.paused(1) == [here]
        system.processes[1].send_signal(signal.SIGKILL)
        system.processes[1].wait()
        system.restart_gate(1)
        assert system.paused(1) == [here]
        assert system.run("release", here, "--direct", "file", host=1).returncode == 0
        assert system.paused(1) == []

    file = json.loads((system.home / "host-1" / "break-glass.json").read_bytes())
    assert file == {"version": 1, "pauses": [], "releases": [everywhere]}


def test_every_change_is_in_the_audit_log_done_or_refused_and_reaches_kafka(system: System) -> None:
    set_ = system.done("pause", *RAID)
    assert system.run("release", "p-none", "--yes").returncode == 2
    system.done("release", set_, "--direct", "redis", "--by", "bob")

    log = system.home / "host-0" / "audit.jsonl"
    lines = log.read_bytes().splitlines()
    said = [json.loads(line) for line in lines]
    assert [(one["act"], one["who"], one["outcome"], one["direct"]) for one in said] == [
        ("pause", "ann", "done", False),
        ("release", "ann", "refused", False),
        ("release", "bob", "done", True),
    ]
    assert said[2]["before"]["id"] == said[2]["after"]["id"] == set_
    assert check_chain(lines).problems == ()

    def sent() -> list[str]:
        found = asyncio.run(read_audit(system.kafka, Topics(system.prefix).audit.name))
        return [record.hash for record in found]

    wait_until(lambda: sent() == [one["hash"] for one in said], timeout_s=20)


def test_what_was_paused_stays_paused_while_kafka_is_killed_and_a_gate_starts_in_the_outage(
    tmp_path: Path, kafka_jars: None
) -> None:
    with ExitStack() as stack:
        kafka = stack.enter_context(running_kafka(tmp_path / "kafka"))
        redis = stack.enter_context(running_redis(tmp_path / "redis"))
        asyncio.run(declare(kafka.bootstrap, Topics("own.")))
        system = System(tmp_path, redis, kafka.bootstrap, "own.")
        stack.callback(_end, system.processes)
        system.start_gate()
        first = system.done("pause", *RAID)
        assert kafka.pid is not None
        os.kill(kafka.pid, signal.SIGSTOP)  # as behind a half-open link: connections stay open and pass nothing
        frozen_out = system.done("pause", "--class", "business", "--reason", "raid", "--yes")
        assert system.paused(0) == sorted((first, frozen_out))
        system.done("release", frozen_out, "--instant")
        kafka.kill()

        second = system.done("pause", "--class", "trusted", "--reason", "raid", "--yes")
        host = system.start_gate()
        released = system.run("release", first, "--instant")

        assert released.returncode == 0, released.stderr
        assert system.paused(0) == system.paused(host) == [second]
        lines = (system.home / "host-0" / "audit.jsonl").read_bytes().splitlines()
        assert len(lines) == 5
        kafka.start()

        def caught_up() -> bool:
            found = asyncio.run(read_audit(kafka.bootstrap, Topics("own.").audit.name))
            return len(found) == 5

        wait_until(caught_up, timeout_s=60, every_s=1.0)


def test_garbage_in_every_channel_at_once_ends_no_pause_and_the_next_one_gets_through(system: System) -> None:
    set_ = system.done("pause", *RAID)
    wait_until(lambda: set_ in system.in_kafka())
    garbage = b"\xff\x00garbage"
    system.redis_command("HSET", "ug:board", "document", '{"version":99,"pauses":[{"id":"' + "x" * 300_000)
    system.redis_command("PUBLISH", "ug:board:changes", '{"pauses":')
    system.redis_command("HSET", "ug:gates:documents", "g-9 boot", '{"gate":')
    system.redis_command("ZADD", "ug:gates:at", "1", "g-9 boot")
    asyncio.run(
        write_controls(system, [(f"pause:{set_}".encode(), garbage), (b"gate:g-9 boot", garbage), (garbage, None)])
    )
    (system.home / "host-1" / "break-glass.json").write_bytes(garbage)

    wait_until(lambda: b"x" * 1_000 not in system.redis_command("HGET", "ug:board", "document"), timeout_s=20)
    next_ = system.done("pause", "--class", "trusted", "--reason", "raid", "--yes")
    shown = system.run("status", host=1)

    assert system.paused(0) == system.paused(1) == sorted((set_, next_))
    assert all(id_ in shown.stdout for id_ in (set_, next_))
    assert "break-glass.json cannot be read, its last good state is kept" in " ".join(shown.stderr.split())
    (system.home / "host-1" / "board.json").write_bytes(garbage)
    system.processes[1].kill()
    system.processes[1].wait()
    system.restart_gate(1)
    wait_until(lambda: system.paused(1) == sorted((set_, next_)))


async def write_controls(system: System, records: list[tuple[bytes, bytes | None]]) -> None:
    producer: Any = AIOKafkaProducer(bootstrap_servers=system.kafka)
    await producer.start()
    try:
        for key, value in records:
            await producer.send_and_wait(Topics(system.prefix).pauses.name, value=value, key=key, partition=0)
    finally:
        await producer.stop()


def test_release_all_right_after_a_pause_in_kafka_releases_it(system: System) -> None:
    """The gates copy it to Redis within a second or two; the release reads both channels instead of waiting for them."""
    for _ in range(3):
        set_ = system.done("pause", *RAID, "--direct", "kafka")

        released = system.run("release", "--all", "--yes", "--instant")

        assert released.returncode == 0, released.stderr
        assert released.stdout.split() == [set_]
        assert system.paused(0) == system.paused(1) == []


def test_a_command_says_which_channel_it_could_not_read(system: System) -> None:
    set_ = system.done("pause", *RAID)

    released = system.run("release", set_, "--instant", "--kafka", f"127.0.0.1:{free_port()}")

    assert released.returncode == 0, released.stderr
    assert "warning: Kafka at" in released.stderr
    assert "cannot be read" in released.stderr


def test_two_operators_at_once_in_two_channels_and_the_release_wins(system: System) -> None:
    """An extension in Kafka that comes a moment after the release in Redis has the higher revision, and loses all the same."""
    set_ = system.done("pause", *RAID)
    for _ in range(3):
        system.done("pause", "--class", "trusted", "--for", "1m", "--reason", "other", "--yes", "--direct", "kafka")
    with ThreadPoolExecutor(2) as pool:
        releasing = pool.submit(system.run, "release", set_, "--instant")
        extending = pool.submit(system.run, "extend", set_, "--for", "2h", "--direct", "kafka")
        released, extended = releasing.result(), extending.result()

    assert released.returncode == 0, released.stderr
    wait_until(lambda: set_ not in (system.paused(0) or []) and set_ not in (system.paused(1) or []))
    if extended.returncode:
        assert "released" in extended.stderr
    shown = json.loads(system.run("status", "-o", "json").stdout)
    assert set_ not in [pause["id"] for pause in shown["pauses"]]
    assert all(gate["obeys"] for gate in shown["gates"])


@pytest.mark.parametrize("reboots", [False, True])
def test_a_gate_whose_clock_is_an_hour_ahead_and_that_reaches_nobody_keeps_its_pauses(
    system: System, reboots: bool
) -> None:
    """To a host an hour ahead everything in its snapshot is an hour old: the pause, and the mark of the store's clock."""
    set_ = system.done("pause", "--class", "new", "--for", "10m", "--reason", "raid", "--yes")
    system.processes[1].terminate()
    system.processes[1].wait(20)
    snapshot = BoardSnapshot(system.home / "host-1" / "board.json")
    board, mark = snapshot.read(), snapshot.clock
    assert board is not None
    assert mark is not None
    boot = "another boot" if reboots else mark.boot
    snapshot.write(by_local_clock(board, -HOUR_US), replace(mark, store_us=mark.store_us - HOUR_US, boot=boot))
    system.redis_of[1] = f"redis://127.0.0.1:{free_port()}/0"
    system.kafka_of[1] = f"127.0.0.1:{free_port()}"

    system.restart_gate(1)
    decided, held = system.decision(1), system.paused(1)
    shown = system.run("status", host=1)

    assert (decided, held) == ("paused", [set_])
    assert ("has not met the store's clock" in shown.stderr) == reboots
    system.redis_of.clear()
    system.kafka_of.clear()


def test_with_the_users_of_the_deployment_a_failover_loses_no_pause(system: System) -> None:
    """Gates may not write the board. The keeper, which runs only afterwards, gets what Redis lost from Kafka."""
    system.with_users()
    system.redis_of[2] = system.redis_of[3] = system.redis_as("gate")
    for process in system.processes:
        process.terminate()
        process.wait(20)
    cut = system.start_gate()
    set_ = system.run("pause", *RAID).stdout.strip()
    wait_until(lambda: system.paused(cut) == [set_])
    wait_until(lambda: set_ in system.in_kafka(), timeout_s=30)

    system.redis_command("DEL", "ug:board")
    newcomer = system.start_gate()
    wait_until(lambda: system.paused(newcomer) == [set_], timeout_s=30)
    lost, held = system.stored(), system.paused(cut)
    keeper = subprocess.Popen([PROGRAM, "keeper", "--redis", system.redis_as("keeper")], env=system.environment(0))
    system.processes.append(keeper)
    wait_until(lambda: set_ in system.stored(), timeout_s=30)
    released = system.run("release", set_, "--instant")

    assert (lost, held) == ({}, [set_])
    wait_until(lambda: system.paused(cut) == system.paused(newcomer) == [])
    assert released.stdout.strip() == set_


def test_a_drill_exercises_the_switch_and_every_gate_tells_when_it_passed(system: System) -> None:
    passed = system.run("drill", "-o", "json")

    assert passed.returncode == 0, passed.stderr
    said = json.loads(passed.stdout)
    assert (said["passed"], said["gates"]) == (True, 2)

    def told(host: int) -> bool:
        page = page_of(f"http://127.0.0.1:{system.ports[host][0]}/metrics")
        (line,) = [
            line for line in page.splitlines() if line.startswith("upload_gate_drill_last_success_timestamp_seconds ")
        ]
        return float(line.split()[1]) > 1_000_000_000

    wait_until(lambda: told(0) and told(1))
    system.processes[1].send_signal(signal.SIGSTOP)
    try:
        failed = system.run("drill")
    finally:
        system.processes[1].send_signal(signal.SIGCONT)
    assert failed.returncode == 3
    assert "g-1" in failed.stderr
    wait_until(lambda: system.paused(0) == system.paused(1) == [])


def page_of(url: str) -> str:
    with urlopen(url, timeout=5) as answer:
        page: bytes = answer.read()
        return page.decode()


def test_two_persons_set_a_long_pause_as_typed_and_the_first_alone_cannot(system: System) -> None:
    long = ("--class", "new", "--for", "25h", "--reason", "raid", "--yes")
    refused = system.run("pause", *long)
    proposed = system.run("pause", *long, "--propose")
    id_ = proposed.stdout.strip()
    shown = json.loads(system.run("status", "-o", "json").stdout)
    own = system.run("approve", id_, "--by", "ann")
    same_login = system.run("approve", id_, "--by", "bob")
    before = system.paused(0)
    approved = system.run("approve", id_, "--by", "bob", "--emergency", "nobody else awake")

    assert (refused.returncode, proposed.returncode, own.returncode, approved.returncode) == (3, 3, 4, 0), (
        approved.stderr
    )
    assert same_login.returncode == 4
    assert "this login" in same_login.stderr
    assert "EMERGENCY: nobody else awake" in system.run("history", id_).stdout
    assert "second person" in refused.stderr
    assert [pause["id"] for pause in shown["waiting"]] == [id_]
    assert (before, system.paused(0), system.paused(1)) == ([], [id_], [id_])
    longer = system.run("extend", id_, "--for", "1h")
    assert longer.returncode == 3
    assert "already lasts" in longer.stderr
    platform_wide = system.run("pause", "--all", "--reason", "raid", "--yes")
    assert platform_wide.returncode == 0, platform_wide.stderr
    assert "it ENDS 1h after its start unless a second person approves" in platform_wide.stderr
    assert system.paused(1) == sorted([id_, platform_wide.stdout.strip()])


def test_a_machine_renews_its_lease_and_cannot_release_a_person(system: System) -> None:
    persons = system.done("pause", *RAID)
    lease = system.done("pause", "--class", "trusted", "--reason", "bot-wave", "--machine", "--owner", "alarm", "--yes")
    renewed = system.run("extend", lease, "--for", "60s", "--machine", "--owner", "alarm")
    released = system.run("release", persons, "--machine", "--owner", "alarm")
    platform = system.run("pause", "--all", "--reason", "bot-wave", "--machine", "--owner", "alarm", "--yes")

    assert (renewed.returncode, released.returncode, platform.returncode) == (0, 4, 4), renewed.stderr
    assert system.paused(0) == sorted((persons, lease))
    everything = system.run("release", "--all", "--yes")
    assert everything.returncode == 0, everything.stderr
    assert system.paused(0) == system.paused(1) == []


async def test_a_gate_whose_link_to_redis_passes_nothing_hears_a_pause_through_kafka(system: System) -> None:
    """A half-open link: the gate's connections stay open and nothing comes through them."""
    port = free_port()
    server_port = int(system.redis.url.rsplit(":", 1)[1].split("/")[0])
    async with FaultProxy(port, server_port) as proxy:
        system.redis_of[2] = f"redis://127.0.0.1:{port}/0"
        host = await asyncio.to_thread(system.start_gate)
        proxy.hold()

        done = await asyncio.to_thread(system.run, "pause", *RAID)
        set_ = done.stdout.strip()
        await eventually(lambda: system.paused_soon(host, set_), timeout_s=20)
        proxy.release()

        assert set_.startswith("p-")
        assert "g-2" in done.stderr or done.returncode == 0
