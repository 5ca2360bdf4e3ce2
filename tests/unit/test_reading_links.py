"""Which uploads of a batch may hold a link: all that hold one, so that folding need not look at the others."""

from __future__ import annotations

import json

import pytest

from streams.files.public_suffixes import load_web_links
from streams.pipeline.reading import Record, read_events

WEB = load_web_links()


def record(**given: object) -> Record:
    event = {"type": "attempted", "id": "e", "at": "2026-11-23T10:00:00Z", "account": {"id": "a"}, **given}
    return Record(7, b"a", json.dumps(event).encode(), (), 0)


@pytest.mark.parametrize(
    ("links", "text"),
    [
        (["https://a.example/x"], None),
        (["https://a.example/x"], "rain"),
        ([], "look at a.example/x"),
        ([], "www.a.example"),
    ],
)
def test_an_upload_with_a_link_may_hold_one(links: list[str], text: str | None) -> None:
    (read,) = read_events([record(links=links, text=text)], ("events", 0), []).events

    assert WEB.hosts_in(links, text)
    assert read.may_link


@pytest.mark.parametrize("given", [{}, {"text": "rain on the harbour"}, {"type": "completed", "bytes": 5}])
def test_other_events_may_hold_none(given: dict[str, object]) -> None:
    (read,) = read_events([record(**given)], ("events", 0), []).events

    assert not read.may_link


def test_a_refused_attempt_shows_no_link() -> None:
    (read,) = read_events([record(links=["https://a.example/x"], decision="deny")], ("events", 0), []).events

    assert not read.may_link
