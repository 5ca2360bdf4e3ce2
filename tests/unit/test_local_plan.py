"""What `up` settles before it starts anything: ports, addresses, salt."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from gate.errors import LocalServerError, OperatorError, SettingInvalid
from gate.local.free_port import free_port
from gate.local.parts import ProcessSpec, added_processes
from gate.local.plan import Plan, UpOptions, keep_salt, make_plan
from gate.local.stop_request import StopRequest
from gate.local.system import System, sole_owner
from gate.settings import DEFAULT_PORTS
from gate.stores.disk.whole_file import write_private


def test_a_taken_default_port_moves_to_a_free_one_and_says_so(tmp_path: Path) -> None:
    taken = DEFAULT_PORTS["gate"]

    plan = make_plan(UpOptions(tmp_path), pick=lambda wanted: 40001 if wanted == taken else wanted or 0)

    assert plan.gate == "http://127.0.0.1:40001"
    assert plan.notes == (f"port {taken} is taken: gate moves to 40001",)


def test_ports_that_were_chosen_follow_each_other_and_never_move(tmp_path: Path) -> None:
    options = UpOptions(tmp_path, port_base=9000)

    plan = make_plan(options, pick=lambda wanted: wanted or 0, processes=["worker"])

    assert (plan.gate_port, plan.admin_port, plan.worker_port, plan.redis_port, plan.kafka_port) == (
        9000, 9001, 9002, 9003, 9004,
    )  # fmt: skip
    with pytest.raises(SettingInvalid, match="port 9001 is taken, which --port-base 9000 gives to admin"):
        make_plan(options, pick=lambda wanted: 1 if wanted == 9001 else wanted or 0, processes=["worker"])


def test_servers_that_are_given_are_used_and_get_no_port(tmp_path: Path) -> None:
    plan = make_plan(UpOptions(tmp_path, redis="redis://r:1/0", kafka="k:2"), pick=lambda wanted: wanted or 0)

    assert (plan.redis, plan.redis_port) == ("redis://r:1/0", None)
    assert (plan.kafka, plan.kafka_port) == ("k:2", None)


def test_the_address_line_is_what_other_programs_read(tmp_path: Path) -> None:
    plan = make_plan(UpOptions(tmp_path), pick=lambda wanted: wanted or 0)

    line = json.loads(plan.address_line())

    assert set(line) == {"gate", "admin", "redis", "kafka", "group", "metrics"}
    assert line["metrics"][0] == line["gate"] + "/metrics"


def test_each_state_directory_has_a_consumer_group_of_its_own_and_keeps_it(tmp_path: Path) -> None:
    first, other, again = (
        make_plan(UpOptions(tmp_path / name), pick=lambda wanted: wanted or 0, environ={}) for name in "aba"
    )

    assert re.fullmatch(r"upload-gate-[0-9a-f]{8}", first.group)
    assert other.group != first.group
    assert again.group == first.group
    assert first.environment()["UPLOAD_GATE_GROUP"] == first.group
    assert json.loads(first.up_file())["group"] == first.group


def test_a_kafka_that_is_given_is_read_with_the_group_that_its_machines_share(tmp_path: Path) -> None:
    options = UpOptions(tmp_path, kafka="k:2")

    shared = make_plan(options, pick=lambda wanted: wanted or 0, environ={})
    named = make_plan(options, pick=lambda wanted: wanted or 0, environ={"UPLOAD_GATE_GROUP": "ours"})

    assert (shared.group, named.group) == ("upload-gate", "ours")


def test_the_salt_is_made_once_is_private_and_never_shown(tmp_path: Path) -> None:
    plan = make_plan(UpOptions(tmp_path), pick=lambda wanted: wanted or 0)

    again = keep_salt(tmp_path / "salt")

    assert again == plan.salt
    assert len(plan.salt) == 64
    assert (tmp_path / "salt").stat().st_mode & 0o077 == 0
    assert plan.salt not in repr(plan)


def test_the_file_for_the_token_of_the_traffic_is_private_before_a_shell_writes_into_it(tmp_path: Path) -> None:
    given, none = UpOptions(tmp_path / "a"), UpOptions(tmp_path / "b", traffic=False)
    plan = make_plan(given, pick=lambda wanted: wanted or 0, processes=["worker", "traffic"])
    quiet = make_plan(none, pick=lambda wanted: wanted or 0, processes=["worker", "traffic"])

    subprocess.run(["sh", "-c", f"umask 022; echo ugt_new > {shlex.quote(str(plan.traffic_token))}"], check=True)
    make_plan(given, pick=lambda wanted: wanted or 0, processes=["worker", "traffic"])

    assert plan.traffic_token.read_text() == "ugt_new\n"
    assert plan.traffic_token.stat().st_mode & 0o077 == 0
    assert not quiet.traffic_token.exists()


def test_an_empty_salt_is_an_error_since_it_would_mean_the_public_default(tmp_path: Path) -> None:
    (tmp_path / "salt").write_text("\n")

    with pytest.raises(SettingInvalid, match=r"salt is empty.*backup"):
        keep_salt(tmp_path / "salt")


def test_a_crash_while_a_private_file_is_written_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "up.json"
    write_private(file, "old")

    def crash(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gate.stores.disk.whole_file.os.fsync", crash)
    with pytest.raises(KeyboardInterrupt):
        write_private(file, "new")

    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["up.json"]
    assert file.stat().st_mode & 0o077 == 0


def test_a_password_is_in_the_file_that_only_its_owner_reads_and_nowhere_else(tmp_path: Path) -> None:
    plan = make_plan(UpOptions(tmp_path, redis="redis://:s3cret@r:1/0"), pick=lambda wanted: wanted or 0)

    assert json.loads(plan.up_file())["redis"] == "redis://:s3cret@r:1/0"
    assert json.loads(plan.address_line())["redis"] == "redis://:***@r:1/0"
    assert "s3cret" not in str(plan.addresses())
    assert "s3cret" not in repr(plan)


def test_without_a_package_that_adds_processes_redis_and_the_gate_run_alone_and_it_says_so(tmp_path: Path) -> None:
    plan = make_plan(UpOptions(tmp_path), pick=lambda wanted: wanted or 0, processes=())

    assert (plan.kafka, plan.kafka_port, plan.worker_port) == (None, None, None)
    assert plan.metrics == (f"{plan.gate}/metrics",)
    assert "kafka" not in json.loads(plan.address_line())
    assert any("only Redis and the gate run" in note for note in plan.notes)
    assert added_processes(plan, entries=()) == []


class Entry:
    """An entry point whose value a test decides."""

    def __init__(self, name: str, value: object) -> None:
        self.name = name
        self.value = f"package:{name}"
        self._value = value

    def load(self) -> object:
        if isinstance(self._value, Exception):
            raise self._value
        return self._value


def test_processes_come_through_entry_points_and_one_that_is_not_wanted_is_left_out(tmp_path: Path) -> None:
    plan = make_plan(UpOptions(tmp_path), pick=lambda wanted: wanted or 0)

    def wanted(of: Plan) -> ProcessSpec:
        return ProcessSpec("http.server", (of.gate,), starts_last=True)

    entries = [Entry("wanted", wanted), Entry("not-wanted", lambda of: None)]
    added = added_processes(plan, entries)  # type: ignore[arg-type]

    assert [(process.name, process.starts_last) for process in added] == [("wanted", True)]
    assert added[0].log == tmp_path / "log" / "wanted.log"


def test_a_process_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    plan = make_plan(UpOptions(tmp_path), pick=lambda wanted: wanted or 0)

    with pytest.raises(LocalServerError, match=r"process broken .*no module"):
        added_processes(plan, [Entry("broken", ImportError("no module"))])  # type: ignore[list-item]


@pytest.mark.parametrize(("traffic", "names"), [(True, ["traffic", "worker"]), (False, ["worker"])])
def test_this_package_adds_the_worker_and_traffic(tmp_path: Path, traffic: bool, names: list[str]) -> None:
    plan = make_plan(UpOptions(tmp_path, traffic=traffic), pick=lambda wanted: wanted or 0)

    assert [process.name for process in added_processes(plan)] == names


@pytest.mark.parametrize(
    ("content", "said"), [("# Upload Gate\n", "rows:1: is not JSON"), ("\n", "rows: holds no rows")]
)
def test_a_stream_that_cannot_be_replayed_is_refused_before_anything_starts(
    tmp_path: Path, content: str, said: str
) -> None:
    rows, started = tmp_path / "rows", list[str]()
    rows.write_text(content)
    plan = make_plan(UpOptions(tmp_path, replay=rows), pick=lambda wanted: wanted or 0)
    system = System(plan, started.append, StopRequest())

    with pytest.raises(OperatorError, match=said):
        system.start()

    assert (started, system.supervisor.is_empty, (tmp_path / "redis").exists()) == ([], True, False)


def test_a_wait_for_a_kafka_that_nobody_runs_is_explained_before_anybody_wonders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(UpOptions(tmp_path, kafka=f"127.0.0.1:{free_port()}"), pick=lambda wanted: wanted or 0)
    said: list[str] = []
    monkeypatch.setattr("gate.local.system.QUIET_FOR_S", 0.0)
    system = System(plan, said.append, StopRequest())

    system._await(lambda: bool(said), [], "gate and worker")

    assert said == [
        f"waiting for gate and worker to answer; nothing accepts connections at {plan.kafka}, the Kafka that --kafka names"
    ]


def test_a_wait_that_is_soon_over_is_not_told_of(tmp_path: Path) -> None:
    plan = make_plan(UpOptions(tmp_path), pick=lambda wanted: wanted or 0)
    said: list[str] = []

    System(plan, said.append, StopRequest())._await(lambda: True, [], "gate and worker")

    assert said == []


@pytest.mark.parametrize("below", ["", "state"])
def test_a_state_directory_that_is_a_file_is_said_to_be_one(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()

    with (
        pytest.raises(LocalServerError, match="it, or what it lies in, is a file; choose one with --state"),
        sole_owner(tmp_path / "file" / below),
    ):
        pass
