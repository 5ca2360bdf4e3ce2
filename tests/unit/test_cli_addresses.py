"""Where a command finds the running system: flag, environment, `up.json`, default ports, in this order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gate.cli.addresses import resolve_addresses
from gate.errors import SettingInvalid
from gate.settings import DEFAULT_ADMIN, DEFAULT_GATE, DEFAULT_REDIS, default_state
from streams.cli.rescore import requested

UP: dict[str, Any] = {
    "gate": "http://127.0.0.1:1/",
    "admin": "http://127.0.0.1:2",
    "redis": "redis://127.0.0.1:3/0",
    "kafka": "127.0.0.1:4",
    "metrics": ["http://127.0.0.1:1/metrics"],
}


def test_without_anything_it_is_the_default_ports(tmp_path: Path) -> None:
    found = resolve_addresses(environ={"XDG_STATE_HOME": str(tmp_path)})

    assert (found.redis, found.gate, found.admin) == (DEFAULT_REDIS, DEFAULT_GATE, DEFAULT_ADMIN)
    assert found.origin["redis"] == "default port"
    assert found.prefix == "ug:"


@pytest.mark.parametrize("by_flag", [True, False])
@pytest.mark.parametrize("part", ["redis", "gate", "kafka"])
def test_a_state_directory_that_was_named_and_tells_nothing_is_no_reason_to_try_the_default_ports(
    tmp_path: Path, part: str, by_flag: bool
) -> None:
    stopped = tmp_path / "stopped"
    environ = {} if by_flag else {"UPLOAD_GATE_STATE": str(stopped)}

    found = resolve_addresses(stopped if by_flag else None, environ=environ)

    assert found.admin is None
    with pytest.raises(SettingInvalid, match=rf"{stopped} holds no up\.json.*--{part}") as caught:
        getattr(found, part)
    assert caught.value.exit_code == 2


def test_an_address_that_is_given_needs_no_up_file(tmp_path: Path) -> None:
    found = resolve_addresses(tmp_path, redis="redis://flag:1/0", environ={})

    assert found.shown("redis") == "redis://flag:1/0 (--redis)"


def test_another_redis_does_not_get_the_admin_port_of_the_system_at_hand(tmp_path: Path) -> None:
    (tmp_path / "up.json").write_text(json.dumps(UP))

    other = resolve_addresses(tmp_path, redis="redis://elsewhere:1/0", environ={})
    same = resolve_addresses(tmp_path, redis=str(UP["redis"]), environ={})
    default = resolve_addresses(environ={"XDG_STATE_HOME": "/nowhere", "UPLOAD_GATE_REDIS": "redis://elsewhere:1/0"})

    assert (other.admin, same.admin, default.admin) == (None, UP["admin"], None)


def test_a_tilde_is_the_home_directory_in_flag_and_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "up.json").write_text(json.dumps(UP))

    assert resolve_addresses(Path("~"), environ={}).redis == UP["redis"]
    assert resolve_addresses(environ={"UPLOAD_GATE_STATE": "~"}).redis == UP["redis"]


def test_a_running_system_is_found_in_its_state_directory(tmp_path: Path) -> None:
    (tmp_path / "up.json").write_text(json.dumps(UP))

    found = resolve_addresses(environ={"UPLOAD_GATE_STATE": str(tmp_path)})

    assert (found.redis, found.kafka, found.admin) == (UP["redis"], UP["kafka"], UP["admin"])
    assert found.gate == "http://127.0.0.1:1"
    assert found.metrics == ("http://127.0.0.1:1/metrics",)


def test_a_flag_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "up.json").write_text(json.dumps(UP))
    environ = {"UPLOAD_GATE_REDIS": "redis://env:1/0", "UPLOAD_GATE_ADMIN": "http://env:2", "UPLOAD_GATE_GATE": ""}

    found = resolve_addresses(tmp_path, redis="redis://flag:1/0", environ=environ)

    assert (found.redis, found.admin, found.gate) == ("redis://flag:1/0", "http://env:2", "http://127.0.0.1:1")
    assert found.origin == {
        "redis": "--redis",
        "admin": "UPLOAD_GATE_ADMIN",
        "gate": str(tmp_path / "up.json"),
        "kafka": str(tmp_path / "up.json"),
    }


def test_a_file_of_another_user_is_named_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root reads everything, so the refusal is made here."""
    (tmp_path / "up.json").write_text("{}")

    def refused(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refused)

    with pytest.raises(SettingInvalid, match=r"belongs to another user.*as that user, or name the servers"):
        resolve_addresses(tmp_path, environ={})


@pytest.mark.parametrize("content", ["", "{", "[]", "\x00"])
def test_an_unreadable_file_is_no_reason_to_act_on_another_system(tmp_path: Path, content: str) -> None:
    (tmp_path / "up.json").write_text(content)

    with pytest.raises(SettingInvalid, match=r"up\.json cannot be read.*--redis"):
        resolve_addresses(tmp_path, environ={})

    assert resolve_addresses(tmp_path, redis="redis://flag:1/0", environ={}).redis == "redis://flag:1/0"


@pytest.mark.parametrize(
    "address",
    [
        {"redis": "host:1"}, {"admin": "host"}, {"gate": "ftp://host"}, {"redis": "redis://host:port/0"},
        {"redis": "redis://:s3cret@host:99999/0"}, {"gate": "http://[::1"}, {"gate": "http:///path"}, {"redis": "redis://:1/0"},
    ],
)  # fmt: skip
def test_an_address_that_is_no_url_is_refused_without_repeating_it(tmp_path: Path, address: dict[str, str]) -> None:
    (name,) = address

    with pytest.raises(SettingInvalid, match=rf"(?i)address of (?:the )?{name}\b") as caught:
        resolve_addresses(tmp_path, environ={}, **address)

    assert address[name] not in str(caught.value) or name == "admin"


def test_passwords_are_not_in_its_repr(tmp_path: Path) -> None:
    assert "s3cret" not in repr(resolve_addresses(tmp_path, redis="redis://:s3cret@host:1/0", environ={}))


def test_the_state_directory_follows_the_xdg_variable() -> None:
    assert default_state({"XDG_STATE_HOME": "/var/state"}) == Path("/var/state/upload-gate")
    assert default_state({}) == Path.home() / ".local/state/upload-gate"


WORKERS = ["http://127.0.0.1:5/metrics", "http://127.0.0.1:6/metrics"]


@pytest.mark.parametrize(
    ("up", "kafka", "pages"),
    [
        ({**UP, "metrics": [*UP["metrics"], *WORKERS]}, None, WORKERS),
        ({**UP, "metrics": [*UP["metrics"], *WORKERS]}, str(UP["kafka"]), WORKERS),
        ({**UP, "metrics": [*UP["metrics"], *WORKERS]}, "elsewhere:1", []),
        (UP, None, []),
        ({"kafka": UP["kafka"]}, None, []),
        ({"metrics": [*UP["metrics"], *WORKERS]}, None, []),
    ],
)
def test_the_metrics_of_workers_are_those_of_the_kafka_in_the_same_file(
    tmp_path: Path, up: dict[str, object], kafka: str | None, pages: list[str]
) -> None:
    (tmp_path / "up.json").write_text(json.dumps(up))

    found = resolve_addresses(tmp_path, kafka=kafka, environ={})

    assert list(found.worker_metrics) == pages


@pytest.mark.parametrize(
    ("pages", "named"),
    [
        (tuple(WORKERS), "http://127.0.0.1:5/metrics http://127.0.0.1:6/metrics"),
        ((), "/metrics of each worker (UPLOAD_GATE_WORKER_METRICS_PORT, by default 8392)"),
    ],
)
def test_rescore_names_the_pages_that_say_how_many_accounts_are_left(pages: tuple[str, ...], named: str) -> None:
    assert requested(3, pages) == [
        "requested: workers score the accounts of 3 partitions again",
        f"upload_gate_worker_accounts_to_rescore says how many are left, at {named}",
    ]
