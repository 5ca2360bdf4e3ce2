"""The servers `up` brings along, for real: data kept, crashes survived, nothing left behind."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from redis import Redis

from gate.errors import LocalServerError
from gate.local.free_port import LOOPBACK, free_port
from gate.local.jars import default_cache
from gate.local.kafka import LocalKafka
from gate.local.redis import LocalRedis, packaged_server
from gate.local.system import sole_owner
from tests.servers import running_kafka, running_redis
from tests.waiting import wait_until

PARENT = """
import sys, time
from pathlib import Path
from gate.local.free_port import free_port
from gate.local.redis import LocalRedis
server = LocalRedis(Path(sys.argv[1]), free_port())
server.start()
print(server.pid, flush=True)
time.sleep(60)
"""


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize("packaged", [False, True], ids=["the one found first", "the packaged one"])
def test_redis_keeps_its_data_over_a_stop_and_a_crash(tmp_path: Path, packaged: bool) -> None:
    binary = packaged_server() if packaged else None
    if packaged and binary is None:
        pytest.skip("no packaged server for this machine")
    server = LocalRedis(tmp_path, free_port(), binary)
    try:
        server.start()
        with Redis.from_url(server.url) as client:
            client.set("kept", "over a stop")
        server.stop()
        server.start()
        with Redis.from_url(server.url) as client:
            after_stop = client.get("kept")
            client.set("kept", "over a crash")
        server.kill()
        server.start()
        with Redis.from_url(server.url) as client:
            after_crash = client.get("kept")
    finally:
        server.stop()
        server.stop()

    assert (after_stop, after_crash) == (b"over a stop", b"over a crash")
    assert server.pid is None
    assert server.poll() == 0
    assert not (tmp_path / "redis.pid").exists()


def test_redis_that_runs_is_not_started_twice(tmp_path: Path) -> None:
    with running_redis(tmp_path) as server:
        pid = server.pid

        with pytest.raises(LocalServerError, match=f"runs already .pid {pid}"):
            server.start()

        assert server.pid == pid


def test_redis_listens_on_loopback_alone(tmp_path: Path) -> None:
    with running_redis(tmp_path) as server, Redis.from_url(server.url) as client:
        assert client.config_get("bind") == {"bind": LOOPBACK}


def test_other_users_of_the_host_cannot_read_what_the_servers_keep(tmp_path: Path) -> None:
    with sole_owner(tmp_path / "state"), running_redis(tmp_path / "servers" / "redis") as server:
        modes = [path.stat().st_mode & 0o777 for path in (tmp_path / "state", server.home)]

    assert modes == [0o700, 0o700]


def test_redis_says_that_its_port_is_taken(tmp_path: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(LocalServerError, match=f"port {port} .* is taken"):
            LocalRedis(tmp_path, port).start()


def test_redis_that_cannot_read_its_data_says_where_to_look(tmp_path: Path) -> None:
    with running_redis(tmp_path) as server, Redis.from_url(server.url) as client:
        client.set("some", "data")
    for part in (tmp_path / "appendonlydir").glob("*.manifest"):
        part.write_text("nonsense\n")

    with pytest.raises(LocalServerError, match=r"(?s)ended while starting.*redis\.log"):
        LocalRedis(tmp_path, free_port()).start()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_no_redis_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        server = int(parent.stdout.readline())
        ran = not gone(server)

        parent.kill()

        assert ran
        wait_until(lambda: gone(server))
    with running_redis(tmp_path) as again:
        assert again.pid is not None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_a_state_directory_in_use_is_not_taken_over(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        try:
            with pytest.raises(LocalServerError, match=f"in use by process {parent.pid}"):
                LocalRedis(tmp_path, free_port()).start()
        finally:
            parent.kill()


@pytest.fixture
def kafka(tmp_path: Path, kafka_jars: None) -> Iterator[LocalKafka]:
    with running_kafka(tmp_path) as server:
        yield server


async def write(bootstrap: str, value: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        await producer.send_and_wait("kept", value)


async def read(bootstrap: str, count: int) -> list[bytes]:
    async with AIOKafkaConsumer("kept", bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
        return [(await consumer.getone()).value for _ in range(count)]


async def test_kafka_keeps_its_data_over_a_stop_a_crash_and_another_port(kafka: LocalKafka) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic("kept", num_partitions=1, replication_factor=1)])
    await admin.close()
    await write(kafka.bootstrap, b"over a stop")
    kafka.stop()
    kafka.stop()
    kafka.start()
    await write(kafka.bootstrap, b"over a crash")
    kafka.kill()
    kafka.start()
    await write(kafka.bootstrap, b"over another port")
    kafka.stop()
    moved = LocalKafka(kafka.home, free_port(), default_cache(), print)
    try:
        moved.start()
        values = await read(moved.bootstrap, 3)
    finally:
        moved.stop()

    assert values == [b"over a stop", b"over a crash", b"over another port"]


async def test_one_kafka_node_alone_commits_transactions(kafka_bootstrap: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic("kept", num_partitions=1, replication_factor=1)])
    await admin.close()

    producer = AIOKafkaProducer(bootstrap_servers=kafka_bootstrap, transactional_id="alone")
    async with producer, producer.transaction():
        await producer.send_and_wait("kept", b"in a transaction")

    assert await read(kafka_bootstrap, 1) == [b"in a transaction"]


def test_kafka_says_that_its_port_is_taken(tmp_path: Path, kafka_jars: None) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(LocalServerError, match=f"port {port} .* is taken"):
            LocalKafka(tmp_path, port, default_cache(), print).start()


def test_kafka_that_cannot_read_its_data_says_where_to_look(kafka: LocalKafka) -> None:
    kafka.stop()
    (kafka.home / "data" / "meta.properties").write_text("version=1\nnode.id=99\ncluster.id=other\n")

    with pytest.raises(LocalServerError, match=r"(?s)ended while starting.*kafka\.log.*node"):
        kafka.start()
