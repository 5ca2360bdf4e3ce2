"""A worker's settings, read from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gate.core.duration import DAY_US, parse_duration_us
from gate.errors import SettingInvalid
from gate.records.kafka_address import WRITE, read_kafka_address
from gate.settings import DEFAULT_PORTS, DEFAULT_PREFIX, DEFAULT_SALT
from streams.core.crowd import WINDOW_US
from streams.worker.lag import ACT_WITHIN_RECORDS

SESSION_TIMEOUT_MS = 6_000
FORGET_AFTER = "180d"
FORGET_AFTER_LEAST_US = WINDOW_US + DAY_US
"""An account that counts in the crowd is never forgotten."""
LOOPBACK = "127.0.0.1"
METRICS_PORT = DEFAULT_PORTS["worker"]


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """The settings of one worker. `redis` None writes scores to Kafka only; `scorecard` None is that of `models`, or
    the packaged one. `models` and `shadow_models` are directories of fitted models.

    `salt` keys the pseudonyms of IPs and devices; it never prints. `metrics_port` 0 serves no metrics, `web_port` 0 no
    pages; pages are served on loopback alone. A partition that is more than `act_within_records` behind the end of its
    topic makes scores that refuse nothing.
    """

    kafka: str
    redis: str | None = None
    group: str = "upload-gate"
    prefix: str = ""
    redis_prefix: str = DEFAULT_PREFIX
    scorecard: Path | None = None
    models: Path | None = None
    shadow_models: Path | None = None
    salt: bytes = field(default=DEFAULT_SALT.encode(), repr=False)
    metrics_host: str = LOOPBACK
    metrics_port: int = METRICS_PORT
    web_port: int = 0
    state_dir: Path = Path("state")
    session_timeout_ms: int = SESSION_TIMEOUT_MS
    partitions: int = 4
    drain_unreadable: bool = False
    forget_after_us: int = 180 * DAY_US
    act_within_records: int = ACT_WITHIN_RECORDS

    @property
    def salt_is_default(self) -> bool:
        """True if no salt is set. Pseudonyms can then be reversed by trying all addresses."""
        return self.salt == DEFAULT_SALT.encode()


def read_worker_settings(env: Mapping[str, str]) -> WorkerSettings:
    """Settings from `UPLOAD_GATE_…` variables. Raises SettingInvalid, naming the variable."""
    kafka = env.get("UPLOAD_GATE_KAFKA", "")
    if not kafka:
        raise SettingInvalid("UPLOAD_GATE_KAFKA is not set", WRITE)
    read_kafka_address(kafka, "UPLOAD_GATE_KAFKA")
    unreadable = env.get("UPLOAD_GATE_UNREADABLE", "stop")
    if unreadable not in ("stop", "drain"):
        raise SettingInvalid(f"UPLOAD_GATE_UNREADABLE is {unreadable!r}", "Use stop or drain")
    return WorkerSettings(
        kafka=kafka,
        redis=env.get("UPLOAD_GATE_REDIS") or None,
        group=env.get("UPLOAD_GATE_GROUP") or "upload-gate",
        prefix=env.get("UPLOAD_GATE_TOPIC_PREFIX", ""),
        redis_prefix=env.get("UPLOAD_GATE_PREFIX") or DEFAULT_PREFIX,
        scorecard=_path(env, "UPLOAD_GATE_SCORECARD"),
        models=_path(env, "UPLOAD_GATE_MODELS"),
        shadow_models=_path(env, "UPLOAD_GATE_SHADOW_MODELS"),
        salt=(env.get("UPLOAD_GATE_SALT") or DEFAULT_SALT).encode(),
        metrics_host=env.get("UPLOAD_GATE_WORKER_METRICS_HOST") or LOOPBACK,
        metrics_port=_number(env, "UPLOAD_GATE_WORKER_METRICS_PORT", METRICS_PORT, 0, 65_535),
        web_port=_number(env, "UPLOAD_GATE_WORKER_WEB_PORT", 0, 0, 65_535),
        state_dir=Path(env.get("UPLOAD_GATE_STATE") or "state").expanduser(),
        session_timeout_ms=_number(env, "UPLOAD_GATE_SESSION_TIMEOUT_MS", SESSION_TIMEOUT_MS, 1_000, 300_000),
        drain_unreadable=unreadable == "drain",
        forget_after_us=_forget_after_us(env),
        act_within_records=_number(env, "UPLOAD_GATE_ACT_WITHIN_RECORDS", ACT_WITHIN_RECORDS, 0, 1 << 40),
    )


def _path(env: Mapping[str, str], name: str) -> Path | None:
    text = env.get(name)
    return Path(text).expanduser() if text else None


def _forget_after_us(env: Mapping[str, str]) -> int:
    text = env.get("UPLOAD_GATE_FORGET_AFTER") or FORGET_AFTER
    try:
        after_us = parse_duration_us(text)
    except ValueError as error:
        raise SettingInvalid(f"UPLOAD_GATE_FORGET_AFTER is {text!r}: {error}", "Use a duration such as 180d") from error
    if after_us < FORGET_AFTER_LEAST_US:
        raise SettingInvalid(
            f"UPLOAD_GATE_FORGET_AFTER is {text!r}, shorter than the crowd remembers",
            f"Use {FORGET_AFTER_LEAST_US // DAY_US}d or more",
        )
    return after_us


def _number(env: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = env.get(name)
    if not text:
        return default
    if not text.isdecimal() or not low <= int(text) <= high:
        raise SettingInvalid(f"{name} is {text!r}", f"Use a whole number from {low} to {high}")
    return int(text)
