"""What the worker of a replay is told: its own scorecard and models, and none of those that the running worker has."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.lab.replay_system import ReplayServers, worker_environment
from streams.worker.settings import read_worker_settings


@pytest.fixture(autouse=True)
def running_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SCORECARD", "MODELS", "SHADOW_MODELS"):
        monkeypatch.setenv(f"UPLOAD_GATE_{name}", f"/running/{name.lower()}")


def test_a_replay_scores_by_what_it_is_given_and_not_by_what_the_running_worker_has(tmp_path: Path) -> None:
    places = ReplayServers("redis://127.0.0.1:1", "127.0.0.1:1", None, Path("fitted"))

    settings = read_worker_settings(worker_environment(places, "replay-1.", "salt", tmp_path))

    assert (settings.scorecard, settings.models, settings.shadow_models) == (None, Path("fitted"), None)


def test_a_replay_without_models_scores_by_the_shipped_ones(tmp_path: Path) -> None:
    places = ReplayServers("redis://127.0.0.1:1", "127.0.0.1:1", Path("card.toml"))

    settings = read_worker_settings(worker_environment(places, "replay-1.", "salt", tmp_path))

    assert (settings.scorecard, settings.models, settings.shadow_models) == (Path("card.toml"), None, None)
