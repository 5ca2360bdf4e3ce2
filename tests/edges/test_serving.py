"""A whole gate as a process: it starts with Redis or without, obeys SIGTERM however often it comes, names a taken port."""

import http.client
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gate.core.limits.take import TakeRequest
from gate.local.free_port import free_port
from gate.policyfile import load_policy
from gate.stores.redis.takes import RedisTakeStore
from tests.edges.running_gate import CHECK
from tests.waiting import wait_until

START = "import os; from gate.settings import read_settings; from gate.serve.wiring import run; run(read_settings(os.environ))"


@contextmanager
def a_gate(state: Path, redis: str, **more: str) -> Iterator[tuple[subprocess.Popen[str], int, int]]:
    port, admin_port = free_port(), free_port()
    environment = {
        **os.environ, "UPLOAD_GATE_STATE": str(state), "UPLOAD_GATE_REDIS": redis, "UPLOAD_GATE_SALT": "s",
        "UPLOAD_GATE_PORT": str(port), "UPLOAD_GATE_ADMIN_PORT": str(admin_port), **more,
    }  # fmt: skip
    process = subprocess.Popen([sys.executable, "-c", START], env=environment, stderr=subprocess.PIPE, text=True)
    try:
        yield process, port, admin_port
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def answer(port: int, method: str, path: str, body: object = None) -> tuple[int, str] | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, {"content-type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read().decode()
    except OSError:
        return None
    finally:
        connection.close()


LEASED = """version = 1
default_class = "regular"
[classes.regular]
[limits."platform.uploads"]
on = "platform"
per = "365d"
lease = 50
[limits."platform.uploads".rates]
regular = { rate = 100000, burst = 100000 }
"""


async def test_a_gate_with_redis_decides_also_from_its_lease_and_gives_that_back_before_it_ends_on_two_sigterms(
    tmp_path: Path, redis_url: str, unique: Callable[[], str]
) -> None:
    policy, prefix, numbers = tmp_path / "policy.toml", f"{unique()}:", itertools.count()
    policy.write_text(LEASED)

    def checked_until_a_lease_gives(port: int) -> int:
        """How many uploads were let in."""
        let_in = 0
        for _ in range(1_000):
            if 'lease_takes_total{source="lease"} 0' not in str(answer(port, "GET", "/metrics")):
                return let_in
            checks = [{**CHECK, "upload_id": f"u-{next(numbers)}"} for _ in range(50)]
            reply = answer(port, "POST", "/v1/checks", {"checks": checks})
            assert reply is not None
            let_in += reply[1].count('"decision":"allow"')
        raise AssertionError("no lease has given anything")

    more = {"UPLOAD_GATE_PREFIX": prefix, "UPLOAD_GATE_POLICY": str(policy)}
    with a_gate(tmp_path, redis_url, **more) as (process, port, _):
        wait_until(lambda: answer(port, "GET", "/healthz"))
        let_in = checked_until_a_lease_gives(port)
        ready, metrics = answer(port, "GET", "/readyz"), answer(port, "GET", "/metrics")
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=10)
    store = RedisTakeStore(redis_url, prefix, 5.0)
    (limits,) = load_policy(policy).class_limits
    peeked = await store.peek(TakeRequest("a", "u", limits))
    await store.close()

    assert ready is not None
    assert json.loads(ready[1])["account_store"] == "answers"
    assert 'upload_gate_lease_held{limit="platform.uploads",on="platform"}' in str(metrics)
    assert process.returncode == 0
    assert "Traceback" not in told
    assert [line.partition("upload_gate: ")[2] for line in told.splitlines()[-2:]] == [
        "stopping: answering the requests under way", "stopped",
    ]  # fmt: skip
    assert peeked.rooms[0].left(peeked.result.now_us) == 100_000 - let_in


def test_a_gate_without_redis_says_so_once_without_its_password_and_decides_degraded(tmp_path: Path) -> None:
    redis = f"redis://u:hunter2@127.0.0.1:{free_port()}/0"
    with a_gate(tmp_path, redis) as (process, port, admin_port):
        wait_until(lambda: answer(port, "GET", "/healthz"))
        replies = [answer(port, "POST", "/v1/check", {**CHECK, "upload_id": f"u-{n}"}) for n in range(8)]
        stats = answer(admin_port, "GET", "/v1/stats")
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=10)

    decisions = [json.loads(reply[1])["decision"] for reply in replies if reply is not None]
    assert decisions == ["allow"] * 5 + ["throttle"] * 3
    assert stats is not None
    assert json.loads(stats[1])["degraded"] == 8
    assert process.returncode == 0
    assert "hunter2" not in told
    assert told.count("limits follow their on_store_error") == 1
    assert "Traceback" not in told


def test_a_sighup_loads_a_better_policy_and_keeps_the_last_one_when_it_is_worse(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    good = 'version = 1\ndefault_class = "regular"\n[classes.regular]\n'
    policy.write_text(good)
    with a_gate(tmp_path, f"redis://127.0.0.1:{free_port()}/0", UPLOAD_GATE_POLICY=str(policy)) as (
        process,
        port,
        admin,
    ):
        wait_until(lambda: answer(port, "GET", "/healthz"))

        def classes() -> list[str]:
            reply = answer(admin, "GET", "/v1/policy")
            return [] if reply is None else list(json.loads(reply[1])["classes"])

        policy.write_text(good + "[classes.new]\n")
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: classes() == ["regular", "new"])
        policy.write_text("version = 3")
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: "upload_gate_policy_rejected_total 1.0" in str(answer(port, "GET", "/metrics")))

        assert classes() == ["regular", "new"]


def test_a_taken_port_names_itself_and_its_variable(tmp_path: Path) -> None:
    redis = f"redis://127.0.0.1:{free_port()}/0"
    with a_gate(tmp_path, redis) as (_, port, _), a_gate(tmp_path, redis) as (_, second, _):
        wait_until(lambda: answer(port, "GET", "/healthz"))
        wait_until(lambda: answer(second, "GET", "/healthz"))
        with a_gate(tmp_path, redis, UPLOAD_GATE_PORT=str(port)) as (third, _, _):
            _, told = third.communicate(timeout=20)

    assert third.returncode != 0
    assert f"cannot listen on 127.0.0.1:{port}" in told
    assert "UPLOAD_GATE_PORT" in told
