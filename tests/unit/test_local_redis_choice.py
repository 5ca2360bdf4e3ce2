"""Which Redis-compatible server is run."""

from pathlib import Path

import pytest

from gate.errors import LocalServerError
from gate.local import redis
from gate.local.redis import packaged_server, server_binary


def a_server(folder: Path, name: str, told: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{told}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def path_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_redis_on_the_path_comes_first(path_folder: Path) -> None:
    expected = a_server(path_folder, "redis-server", "Redis server v=7.0.15 sha=00000000")
    a_server(path_folder, "valkey-server", "Valkey server v=9.1.2 sha=00000000")

    assert server_binary() == expected


def test_valkey_on_the_path_comes_second(path_folder: Path) -> None:
    expected = a_server(path_folder, "valkey-server", "Valkey server v=8.0.1 sha=00000000")

    assert server_binary() == expected


def test_a_server_too_old_for_the_scripts_is_passed_over(path_folder: Path) -> None:
    a_server(path_folder, "redis-server", "Redis server v=6.2.7 sha=00000000")
    expected = a_server(path_folder, "valkey-server", "Valkey server v=8.0.1 sha=00000000")

    assert server_binary() == expected


@pytest.mark.usefixtures("path_folder")
def test_the_packaged_server_comes_last() -> None:
    if packaged_server() is None:
        pytest.skip("no packaged server for this machine")

    assert server_binary() == packaged_server()


def test_having_none_says_what_to_do(path_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_server(path_folder, "redis-server", "Redis server v=6.2.7 sha=00000000")
    monkeypatch.setattr(redis, "packaged_server", lambda: None)

    with pytest.raises(LocalServerError, match=r"redis-server is older than 7\.0.*--redis URL"):
        server_binary()
