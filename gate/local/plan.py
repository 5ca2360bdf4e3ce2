"""The plan of `upload-gate up`: the parts to start, their directories and ports, fixed before any process runs."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from gate.errors import SettingInvalid, redact
from gate.local.free_port import LOOPBACK, free_port
from gate.settings import DEFAULT_PORTS, SALT_FILE
from gate.stores.disk.whole_file import write_private

PROCESSES_GROUP = "upload_gate.processes"
"""The group of entry points through which other packages add processes to `up`; see `parts`."""
PORTS = ("gate", "admin", "worker", "redis", "kafka")
"""The order of the ports that `--port-base` counts from."""
WORKER = "worker"
"""The process whose metrics page the live view reads beside the gate's."""
TRAFFIC_TOKEN = "traffic.token"
"""The file in the state directory from which the traffic of `up` takes its token."""
SALT_BYTES = 32
DEFAULT_GROUP = "upload-gate"
"""The consumer group where several machines share one Kafka."""
GROUP_ID_BYTES = 4


@dataclass(frozen=True, slots=True)
class UpOptions:
    """The operator's options. A given `redis` or `kafka` is used instead of an embedded server."""

    state: Path
    redis: str | None = field(default=None, repr=False)
    kafka: str | None = None
    policy: Path | None = None
    scorecard: Path | None = None
    traffic: bool = True
    rate: float = 20.0
    seed: int = 7
    replay: Path | None = None
    speed: float = 1.0
    port_base: int | None = None
    """The first of the ports in the order of `PORTS`; None for the default ones."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The addresses and directories of all parts. `notes` name ports that had to move, and parts that are missing.

    `kafka` is None if no process needs it and none was given, `worker_port` if no package adds a worker.
    """

    options: UpOptions
    redis: str = field(repr=False)
    redis_port: int | None
    kafka: str | None
    kafka_port: int | None
    gate_port: int
    admin_port: int
    worker_port: int | None
    salt: str = field(repr=False)
    group: str = DEFAULT_GROUP
    notes: tuple[str, ...] = ()
    has_moved_ports: bool = False

    @property
    def gate(self) -> str:
        """The gate's base URL."""
        return f"http://{LOOPBACK}:{self.gate_port}"

    @property
    def admin(self) -> str:
        """The admin port's base URL."""
        return f"http://{LOOPBACK}:{self.admin_port}"

    @property
    def worker_metrics(self) -> str | None:
        """The worker's metrics page."""
        return None if self.worker_port is None else f"http://{LOOPBACK}:{self.worker_port}/metrics"

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every page to scrape, the gate's first."""
        pages = (f"{self.gate}/metrics", self.worker_metrics)
        return tuple(page for page in pages if page is not None)

    @property
    def has_traffic(self) -> bool:
        """Whether this run sends uploads of its own, simulated or from a labelled stream."""
        return self.kafka is not None and (self.options.traffic or self.options.replay is not None)

    @property
    def traffic_token(self) -> Path:
        """The file whose token those uploads carry, if it holds one."""
        return self.options.state / TRAFFIC_TOKEN

    def up_file(self) -> str:
        """The content of `up.json`, by which commands find this system. It may hold a password."""
        return self._line(self.redis)

    def address_line(self) -> str:
        """One line of JSON with all addresses, for other programs. It has no passwords, as output ends up in logs."""
        return self._line(redact(self.redis))

    def _line(self, redis: str) -> str:
        line = {"gate": self.gate, "admin": self.admin, "redis": redis}
        if self.kafka is not None:
            line["kafka"] = self.kafka
            line["group"] = self.group
        return json.dumps({**line, "metrics": list(self.metrics)})

    def addresses(self) -> list[tuple[str, str]]:
        """Names and addresses for people, the most useful first."""
        rows = [
            ("gate", f"{self.gate}/v1/check"),
            ("admin", self.admin),
            ("redis", redact(self.redis)),
            ("kafka", self.kafka or "not needed, not started"),
            ("logs", str(self.options.state / "log")),
        ]
        return [*rows, *(("metrics", page) for page in self.metrics)]

    def environment(self) -> dict[str, str]:
        """The environment of each process that `up` starts."""
        given = {
            "UPLOAD_GATE_STATE": str(self.options.state),
            "UPLOAD_GATE_REDIS": self.redis,
            "UPLOAD_GATE_GATE": self.gate,
            "UPLOAD_GATE_ADMIN": self.admin,
            "UPLOAD_GATE_SALT": self.salt,
            "UPLOAD_GATE_KAFKA": self.kafka or "",
            "UPLOAD_GATE_GROUP": self.group,
        }
        if self.worker_port is not None:
            given["UPLOAD_GATE_WORKER_METRICS_PORT"] = str(self.worker_port)
        if self.options.policy is not None:
            given["UPLOAD_GATE_POLICY"] = str(self.options.policy)
        if self.options.scorecard is not None:
            given["UPLOAD_GATE_SCORECARD"] = str(self.options.scorecard)
        return given


def process_entries() -> list[EntryPoint]:
    """The entry points of installed packages that add processes to `up`, by name. It loads none of them."""
    return sorted(entry_points(group=PROCESSES_GROUP), key=lambda entry: entry.name)


def make_plan(
    options: UpOptions,
    pick: Callable[[int | None], int] = free_port,
    processes: Sequence[str] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Plan:
    """Choose ports, salt and consumer group. A default port that is taken is replaced by a free one, with a note.

    Raises SettingInvalid for a taken port of `port_base`, which the user chose. `processes` names the processes that
    installed packages add; without any, Kafka is not needed.
    """
    notes: list[str] = []
    names = [entry.name for entry in process_entries()] if processes is None else processes

    base = options.port_base

    def port(name: str) -> int:
        wanted = DEFAULT_PORTS[name] if base is None else base + PORTS.index(name)
        got = pick(wanted)
        if got != wanted and base is not None:
            raise SettingInvalid(
                f"port {wanted} is taken, which --port-base {base} gives to {name}",
                f"stop what listens there, or choose another --port-base: {len(PORTS)} ports from it on are used",
            )
        if got != wanted:
            notes.append(f"port {wanted} is taken: {name} moves to {got}")
        return got

    if not names:
        notes.append("no installed package adds a stream worker: only Redis and the gate run, and no account is scored")
    said = len(notes)
    redis_port = None if options.redis is not None else port("redis")
    kafka_port = None if options.kafka is not None or not names else port("kafka")
    plan = Plan(
        options=options,
        redis=options.redis or f"redis://{LOOPBACK}:{redis_port}/0",
        redis_port=redis_port,
        kafka=options.kafka or (None if kafka_port is None else f"{LOOPBACK}:{kafka_port}"),
        kafka_port=kafka_port,
        gate_port=port("gate"),
        admin_port=port("admin"),
        worker_port=port(WORKER) if WORKER in names else None,
        salt=keep_salt(options.state / SALT_FILE),
        group=environ.get("UPLOAD_GATE_GROUP")
        or (DEFAULT_GROUP if options.kafka else keep_group(options.state / "group")),
    )
    if plan.has_traffic and not plan.traffic_token.exists():
        write_private(plan.traffic_token, "")  # the shell that writes a token into it leaves it private
    return replace(plan, notes=tuple(notes), has_moved_ports=len(notes) > said)


def keep_salt(path: Path) -> str:
    """The salt of the pseudonyms on this machine. It is made once and kept in a file that only its owner can read.

    Raises SettingInvalid if the file is empty: an empty salt would mean the public default.
    """
    if path.exists():
        salt = path.read_text().strip()
        if not salt:
            raise SettingInvalid(
                f"the salt file {path} is empty",
                "restore it from a backup; or remove it, which changes all hashes of addresses and devices",
            )
        return salt
    path.parent.mkdir(parents=True, exist_ok=True)
    salt = secrets.token_hex(SALT_BYTES)
    write_private(path, salt + "\n")
    return salt


def keep_group(path: Path) -> str:
    """The consumer group of the embedded Kafka's workers. It is made once for each state directory.

    With one group for all, a worker of another system that finds this Kafka by its port would be given partitions.
    """
    try:
        if group := path.read_text().strip():
            return group
    except FileNotFoundError:
        pass
    path.parent.mkdir(parents=True, exist_ok=True)
    group = f"{DEFAULT_GROUP}-{secrets.token_hex(GROUP_ID_BYTES)}"
    write_private(path, group + "\n")
    return group
