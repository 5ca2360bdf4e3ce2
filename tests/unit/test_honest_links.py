"""Honest links at hand: the installed packages name many hosts, halves do not overlap, made names are deterministic."""

from __future__ import annotations

import pytest

from streams.lab.honest_links import honest_hosts, plain_names, plain_paths

pytest.importorskip("hstspreload", reason="the extra `fit` is not installed")


def test_halves_for_fitting_and_judging_share_no_host() -> None:
    fitting, judging = honest_hosts(for_fitting=True), honest_hosts(for_fitting=False)

    assert len(fitting) > 50_000
    assert len(judging) > 50_000
    assert not set(fitting) & set(judging)
    assert all("." in name for name in fitting)


def test_made_names_and_paths_follow_from_the_seed() -> None:
    assert plain_names(50, 7) == plain_names(50, 7)
    assert plain_names(50, 7) != plain_names(50, 8)
    assert plain_paths(50, 7) == plain_paths(50, 7)
    assert all(path.startswith("/") for path in plain_paths(200, 7))
