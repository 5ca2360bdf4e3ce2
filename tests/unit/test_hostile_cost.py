"""The CPU time of the most expensive event of each kind, against a plain one of its size and an ordinary one of 1 KB."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from streams.core import links, text, weblinks
from streams.core.crowd import Crowd
from streams.core.events import Unreadable, decode_counting, malformed, time_us
from streams.core.facts import Facts
from streams.core.fold import fold
from streams.files.public_suffixes import load_web_links
from streams.files.scorecards import load_scorecard
from streams.pipeline.hashes import Hashes
from streams.pipeline.step import Record, process

MOST_TIMES = 10.0
LEAST_TURNS, MOST_TURNS = 3, 40
BASE: dict[str, Any] = {"type": "attempted", "id": "e-1", "at": "2026-11-20T08:00:00Z", "account": {"id": "a-1"}}
LONG_HOSTS = [
    "-".join(["paypa", "telegra", "disco", "micros"] * 8)[:55] + f"{i}" + ".x" * 90 + ".test" for i in range(50)
]
HYPHENS = ["https://" + "-".join(f"payp{i}l{j}" for j in range(28)) + ".com" for i in range(20)]


def event(**given: Any) -> bytes:
    return json.dumps({**BASE, **given}).encode()


def padded(letters: str, size: int) -> str:
    return (letters * (size // len(letters) + 1))[:size]


HOSTILE: dict[str, bytes] = {
    "long hyphenated hosts": event(links=HYPHENS),
    "long hosts": event(links=[f"https://{name}/" for name in LONG_HOSTS]),
    "many links": event(links=[f"https://h{i}.test/" for i in range(2_000)]),
    "punycode": event(links=[f"https://xn--l-7sba6dbr{i}.com/" for i in range(50)]),
    "lookalikes": event(links=[f"https://раураl{i}.com/" for i in range(50)]),
    "near links": event(text=padded("a.b@", 60_000)),
    "schemes": event(text=padded("https:https:/", 60_000)),
    "slashes": event(text=padded("//a\\\\", 60_000)),
    "bare names": event(text=" ".join(f"host{i}.com" for i in range(5_000))),
    "dotted": event(text=padded("a.", 60_000)),
    "every script": event(text=padded("aяαא字한ไ😀é\u200bﬁ①", 9_000)),
    "what is not shown": event(text=padded("\u200b\u2060", 9_000)),
    "what grows": event(text=padded("\ufdfa", 9_000)),
    "marks": event(text=padded("a\u0301\u0327", 9_000)),
    "half characters": event(text=padded("\ud83d", 9_000)),
    "a device of many bytes": event(device=padded("д", 9_000)),
    "an id that is not shown": event(upload_id=padded("\u200b", 9_000)),
    "an address of many hops": event(ip=padded("10.0.0.1, ", 60_000)),
    "labels that fold": event(surface=padded("ﬃ", 9_000), country=padded("ﬃ", 9_000)),
    "unknown fields": event(**{f"x{i}": i for i in range(4_000)}),
    "deep": event()[:-1] + b',"x":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "deep but closed early": event()[:-1] + b',"x":' + b"[" * 60_000 + b"}",
    "numbers": event(media={"bytes": 1})[:-2] + b"9" * 60_000 + b"}}",
}


@pytest.fixture(scope="module")
def work() -> Callable[[bytes, bool], None]:
    web, hashes = load_web_links(), Hashes(b"salt")

    def all_of_it(value: bytes, cold: bool) -> None:
        nonlocal hashes
        if cold:  # an attacker's hosts are new each time, what honest people link to is not
            links.suspicion.cache_clear()
            hashes = Hashes(b"salt")
        try:
            read, _, dropped = decode_counting(value)
        except Unreadable:
            return
        fold(Facts(), read, time_us(read), 1, value, hashes, web, malformed(dropped))

    return all_of_it


def plain(size: int) -> bytes:
    """An honest event of so many bytes: a caption, three links, all its fields, and the rest of the size in text."""
    whole = {
        **BASE, "upload_id": "u-1", "media": {"kind": "image", "bytes": 7}, "device": "d-5", "ip": "203.0.113.9",
        "links": [f"https://pictures{i}.example.org/album/{i}" for i in range(3)],
    }  # fmt: skip
    caption = padded(
        "A day at the sea, see https://example.org/a and smile. ", max(80, size - len(json.dumps(whole)) - 12)
    )
    return json.dumps({**whole, "text": caption}).encode()


def times_dearer(hostile: Callable[[], None], usual: Callable[[], None], repeats: int, bound: float) -> float:
    """The least CPU time of `hostile` over that of `usual`, measured in turn, since a busy machine slows both down.

    Ends as soon as the ratio is within `bound`; a lucky measurement of `usual` alone decides nothing.
    """
    least = [float("inf"), float("inf")]
    for turn in range(MOST_TURNS):
        for at, job in enumerate((hostile, usual)):
            started = time.thread_time_ns()
            for _ in range(repeats):
                job()
            least[at] = min(least[at], (time.thread_time_ns() - started) / repeats)
        if turn + 1 >= LEAST_TURNS and least[0] <= bound * least[1]:
            break
    return least[0] / least[1]


@pytest.mark.parametrize("name", HOSTILE)
def test_the_dearest_event_costs_at_most_ten_times_a_plain_one(work: Callable[[bytes, bool], None], name: str) -> None:
    hostile, usual = HOSTILE[name], plain(len(HOSTILE[name]))

    ratio = times_dearer(lambda: work(hostile, True), lambda: work(usual, False), 20, MOST_TIMES)

    assert ratio <= MOST_TIMES, f"{name}: {ratio:.1f} times"


@pytest.fixture(scope="module")
def whole_work() -> Callable[[bytes, bool], None]:
    """All that a batch of one event costs, from its bytes to an encoded score."""
    web, hashes, card, crowd = load_web_links(), Hashes(b"salt"), load_scorecard(None), Crowd()

    def all_of_it(value: bytes, cold: bool) -> None:
        nonlocal hashes
        if cold:
            links.suspicion.cache_clear()
            hashes = Hashes(b"salt")
        process([Record(0, b"a-1", value, (), 0)], {}, crowd, card, hashes, web, ("events", 0), "epoch", 0)

    return all_of_it


@pytest.mark.parametrize("name", HOSTILE)
def test_the_dearest_event_costs_at_most_ten_times_an_ordinary_one_of_a_kilobyte(
    whole_work: Callable[[bytes, bool], None], name: str
) -> None:
    ordinary = event(
        upload_id="u-1", media={"kind": "image", "bytes": 7}, device="d-5", ip="203.0.113.9",
        links=[f"https://pictures{i}.example.org/album/{i}" for i in range(3)],
        text=padded("A day at the sea, and home again. ", 640) + "See https://example.org/a",
    )  # fmt: skip

    ratio = times_dearer(lambda: whole_work(HOSTILE[name], True), lambda: whole_work(ordinary, False), 20, MOST_TIMES)

    assert 950 < len(ordinary) < 1_050
    assert ratio <= MOST_TIMES, f"{name}: {ratio:.1f} times"


def test_the_work_grows_with_the_bytes_and_no_faster() -> None:
    web = load_web_links()
    half, whole = (padded("a.b@", size) for size in (1_000, 2_000))

    ratio = times_dearer(lambda: void(web.hosts_in((), whole)), lambda: void(web.hosts_in((), half)), 50, 4.0)

    assert ratio <= 4.0


def void(_: object) -> None:
    """What was worked out is of no interest."""


def test_a_long_caption_is_judged_by_its_beginning() -> None:
    head = "Win big money today " * 30

    assert text.read(head[:501]) == text.read(head + "x" * 60_000)
    assert weblinks.MAX_HEAD_CHARS + weblinks.MAX_TAIL_CHARS == 2_048
