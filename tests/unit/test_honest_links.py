"""Honest links at hand: the installed packages name many hosts, halves do not overlap, made names are deterministic."""

from __future__ import annotations

import re

import pytest

from streams.lab import honest_links
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


def test_paths_are_made_of_every_kind() -> None:
    makers = [maker for name, maker in vars(honest_links).items() if name.startswith("_of_")]

    assert set(honest_links.PATHS) == set(makers)


def test_made_paths_name_standards_answers_and_files_of_projects() -> None:
    paths = plain_paths(4_000, 3)

    for kind in (
        r"/a/\d+",
        r"/q/\d+/\d+",
        r"/.*/releases/tag/v.*",
        r"/.*/[0-9a-f]{40}",
        r"/\d{4}\.\d{5}",
        r"/.*/trunk/.*",
    ):
        assert any(re.fullmatch(kind, path) for path in paths), kind


def test_names_on_shared_hosting_are_those_of_people_and_of_projects() -> None:
    names = plain_names(2_000, 3)

    assert any(re.fullmatch(r"python-[a-z]+", name) for name in names)
    assert any(re.fullmatch(r"lib[a-z]+", name) for name in names)
    assert any("-by-" in name for name in names)
    assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in names)
