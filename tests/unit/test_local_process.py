"""A child process is started, watched and ended, and none is left behind."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gate.errors import LocalServerError
from gate.local.process import LOG_ROTATE_BYTES, Child, await_ready, end_leftover
from tests.waiting import wait_until

STAYS = "import time; print('here', flush=True); time.sleep(60)"
STAYS_THROUGH_TERM = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"

PARENT = """
import sys, time
from pathlib import Path
from gate.local.process import Child
child = Child("kid", [sys.executable, "-c", "import time; time.sleep(60)"], log=Path(sys.argv[1]) / "kid.log")
child.start()
print(child.pid, flush=True)
time.sleep(60)
"""


def python(code: str, home: Path, pid_file: Path | None = None) -> Child:
    return Child("kid", [sys.executable, "-c", code, str(home)], log=home / "kid.log", pid_file=pid_file)


def lives(pid: int) -> bool:
    """Whether a process runs; one that has ended but was not collected yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until_known_by(words: Path, pid: int | None) -> None:
    """Wait until the process shows its command line, which takes a moment after it was started."""
    wait_until(lambda: str(words).encode() in Path(f"/proc/{pid}/cmdline").read_bytes())


def test_a_child_that_ended_tells_its_status_and_its_last_lines(tmp_path: Path) -> None:
    child = python("print('first'); print('last'); raise SystemExit(7)", tmp_path)

    child.start()

    assert child.wait(10) == 7
    assert child.pid is None
    assert child.tail(1) == "  last"


def test_stopping_is_idempotent_and_before_a_start_does_nothing(tmp_path: Path) -> None:
    child = python(STAYS, tmp_path)

    before = child.stop(5)
    child.start()
    statuses = [child.stop(5), child.stop(5), child.kill()]

    assert before is None
    assert statuses == [-signal.SIGTERM] * 3


def test_a_child_deaf_to_sigterm_is_killed_after_its_grace(tmp_path: Path) -> None:
    child = python(STAYS_THROUGH_TERM, tmp_path)
    child.start()
    wait_until(lambda: "deaf" in child.tail())

    assert child.stop(0.1) == -signal.SIGKILL


def test_a_child_can_be_started_again_after_its_end(tmp_path: Path) -> None:
    child = python(STAYS, tmp_path)
    child.start()
    first = child.pid
    child.kill()

    child.start()
    second = child.pid
    child.kill()

    assert first is not None
    assert second is not None
    assert first != second


def test_a_child_that_runs_is_not_started_twice(tmp_path: Path) -> None:
    child = python(STAYS, tmp_path)
    child.start()
    try:
        with pytest.raises(LocalServerError, match="runs already"):
            child.start()
    finally:
        child.kill()


def test_a_child_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    child = python(STAYS, tmp_path)
    starter = threading.Thread(target=child.start)
    starter.start()
    starter.join()
    try:
        wait_until(lambda: "here" in child.tail())

        assert child.wait(0.3) is None
    finally:
        child.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_no_child_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        lived = lives(child)

        parent.kill()

        assert lived
        wait_until(lambda: not lives(child))


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(LocalServerError, match="no-such-program"):
        Child("kid", ["no-such-program"], log=tmp_path / "kid.log").start()


def test_a_death_while_starting_is_told_at_once_with_the_log(tmp_path: Path) -> None:
    child = python("print('disk on fire'); raise SystemExit(3)", tmp_path)
    child.start()

    with pytest.raises(LocalServerError, match=r"(?s)exit status 3.*kid\.log.*disk on fire"):
        await_ready(child, lambda: False, timeout_s=60)


def test_a_child_that_never_answers_is_ended_after_the_deadline(tmp_path: Path) -> None:
    child = python(STAYS, tmp_path)
    child.start()

    with pytest.raises(LocalServerError, match="gave no answer"):
        await_ready(child, lambda: False, timeout_s=0.2)

    assert child.pid is None


def test_a_log_that_has_grown_is_set_aside_at_the_next_start(tmp_path: Path) -> None:
    (tmp_path / "kid.log").write_bytes(b"x" * (LOG_ROTATE_BYTES + 1))
    child = python("print('fresh')", tmp_path)

    child.start()
    child.wait(10)

    assert (tmp_path / "kid.log").read_text() == "fresh\n"
    assert (tmp_path / "kid.log.1").stat().st_size == LOG_ROTATE_BYTES + 1


def test_a_leftover_whose_owner_is_gone_is_ended(tmp_path: Path) -> None:
    leftover = subprocess.Popen([sys.executable, "-c", STAYS, str(tmp_path)], stdout=subprocess.DEVNULL)
    until_known_by(tmp_path, leftover.pid)
    pid_file = tmp_path / "kid.pid"
    pid_file.write_text(json.dumps({"pid": leftover.pid, "owner": 2**22 + 1, "owner_born": "1"}))

    threading.Thread(target=leftover.wait, daemon=True).start()
    end_leftover(pid_file, str(tmp_path), "the kid")

    assert leftover.wait(10) == -signal.SIGTERM
    assert not pid_file.exists()


def test_a_pid_file_holds_the_process_id_alone_and_its_owner_is_known_beside_it(tmp_path: Path) -> None:
    pid_file = tmp_path / "kid.pid"
    child = Child("kid", [sys.executable, "-c", STAYS, str(tmp_path)], log=tmp_path / "kid.log", pid_file=pid_file)
    child.start()
    try:
        until_known_by(tmp_path, child.pid)
        noted = pid_file.read_text()
        owner = json.loads((tmp_path / "kid.owner").read_text())["owner"]

        assert (noted, owner) == (f"{child.pid}\n", os.getpid())
    finally:
        child.kill()

    assert not pid_file.exists()
    assert not (tmp_path / "kid.owner").exists()


def test_a_server_in_use_by_a_living_owner_is_left_alone(tmp_path: Path) -> None:
    owner = Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()[19]
    child = python(STAYS, tmp_path)
    child.start()
    until_known_by(tmp_path, child.pid)
    pid_file = tmp_path / "kid.pid"
    pid_file.write_text(json.dumps({"pid": child.pid, "owner": os.getppid(), "owner_born": owner}))
    try:
        with pytest.raises(LocalServerError, match=f"in use by process {os.getppid()}"):
            end_leftover(pid_file, str(tmp_path), "the kid")

        assert child.poll() is None
    finally:
        child.kill()


@pytest.mark.parametrize("noted", ["", "{", "[]", '{"pid": 1}', '{"pid": "x", "owner": 1, "owner_born": ""}'])
def test_a_pid_file_that_cannot_be_read_ends_nothing(tmp_path: Path, noted: str) -> None:
    (tmp_path / "kid.pid").write_text(noted)

    end_leftover(tmp_path / "kid.pid", "", "the kid")

    assert (tmp_path / "kid.pid").read_text() == noted


def test_a_stranger_that_got_the_old_pid_is_left_alone(tmp_path: Path) -> None:
    child = python(STAYS, tmp_path)
    child.start()
    until_known_by(tmp_path, child.pid)
    pid_file = tmp_path / "kid.pid"
    pid_file.write_text(json.dumps({"pid": child.pid, "owner": 2**22 + 1, "owner_born": "1"}))
    try:
        end_leftover(pid_file, "a path it has not got", "the kid")

        assert child.poll() is None
        assert not pid_file.exists()
    finally:
        child.kill()


def test_a_child_runs_and_ends_where_its_pid_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "child.pid").mkdir()
    child = Child("child", [sys.executable, "-c", STAYS], log=tmp_path / "log", pid_file=tmp_path / "child.pid")

    child.start()
    runs = child.pid is not None
    (tmp_path / "child.pid").rmdir()
    child.kill()

    assert runs
    assert child.poll() == -signal.SIGKILL
