"""The script that stores scores, on the bytes of every release: which of two values stays, and how they are written."""

from __future__ import annotations

import itertools
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from gate.core.score import Stamp, replaces
from gate.stores.redis.connections.line import Line
from gate.stores.redis.connections.script_call import Run, Script
from gate.stores.redis.lua import script
from tests.redis_nodes import say
from tests.redis_scripts import left_by
from tests.servers import running_redis

KEPT_MS = 86_400_000
FIELDS: dict[str, tuple[object, ...]] = {
    "epoch": ("c/a", "c/b", "d/a", "c/longer", "c" * ord("."), "d" * ord(".")),
    "offset": (0, 1, 7),
    "partition": (0, 1, 1 << 24),
    "partitions": (0, 4, 1 << 24),
    "generation": (0, 1, 5),
    "decay": (0, 12, 17),
    "section": (2, 3),
}
"""What the head of a stored score may say. A generation of 0 has no section.

The length of an epoch is a byte of a value, and so may be a sign of a pattern, as `.` is.
"""


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a stored score: its stamp, the size of what says how it decays, and the kind of the stamp's section."""

    epoch: str = "c/a"
    offset: float = 1
    partition: int = 1
    partitions: int = 4
    generation: float = 5
    decay: int = 12
    section: int = 3

    @property
    def stamp(self) -> Stamp:
        if self.generation == 0:
            return Stamp(self.epoch, int(self.offset))
        return Stamp(self.epoch, int(self.offset), self.partition, self.partitions, int(self.generation))

    def value(self, document: bytes = b'{"account":"a"}', risk: float = 0.5) -> bytes:
        epoch = self.epoch.encode()
        head = struct.pack("<dddH", risk, 2e15, self.offset, len(epoch)) + epoch
        if self.decay == 12:
            head += struct.pack("<B7sIB", 12, (600_000_000).to_bytes(7, "little"), 250_000, 1)
        elif self.decay == 17:
            head += struct.pack("<BddB", 17, 6e8, 0.25, 1)
        if self.generation == 0:
            return head + document
        if self.section == 3:
            generation = int(self.generation).to_bytes(7, "little")
            return head + struct.pack("<B7sII", 3, generation, self.partitions, self.partition) + document
        return head + struct.pack("<BdII", 2, self.generation, self.partitions, self.partition) + document


async def put(line: Line, known: dict[str, bytes | None], offered: list[bytes]) -> tuple[int, list[bool]]:
    """How many scores the script says that it stored, and which of them it did."""
    left = await left_by(line, script("put_scores"), known, [KEPT_MS, *offered])
    stored = [value == new for value, new in zip(left.values, offered, strict=True)]
    assert [value for value, is_new in zip(left.values, stored, strict=True) if not is_new] == [
        old for old, is_new in zip(known.values(), stored, strict=True) if not is_new
    ]
    assert [KEPT_MS if is_new else -1 for is_new in stored] == left.kept_ms
    return left.reply, stored


def neighbours() -> list[tuple[Head, Head]]:
    """Pairs of heads that differ in at most one field."""
    found = []
    for generations in ((1, 1), (1, 5), (5, 1), (0, 1), (1, 0), (0, 0)):
        known, offered = (Head(generation=generation, offset=7) for generation in generations)
        found += [(known, offered), (known, replace(offered, offset=1)), (replace(known, offset=1), offered)]
        for name, values in FIELDS.items():
            if name == "generation":
                continue
            for one, other in itertools.product(values, repeat=2):
                found.append((replace(known, **{name: one}), replace(offered, **{name: other})))
    return found


def strangers(count: int) -> list[tuple[Head, Head]]:
    draw = random.Random(13)

    def head() -> Head:
        return Head(**{name: draw.choice(values) for name, values in FIELDS.items()})  # type: ignore[arg-type]

    return [(head(), head()) for _ in range(count)]


async def test_of_two_values_the_one_whose_stamp_is_later_stays_whatever_release_wrote_it(
    line: Line, unique: Callable[[], str]
) -> None:
    pairs, draw = [*neighbours(), *strangers(1_200)], random.Random(5)
    won = 0
    while pairs:
        some = [pairs.pop() for _ in range(min(len(pairs), draw.randint(1, 9)))]
        name = unique()
        known: dict[str, bytes | None] = {
            f"{name}{n}": before.value(b'{"old":1}', 0.25) for n, (before, _) in enumerate(some)
        }

        reply, stored = await put(line, known, [after.value() for _, after in some])

        assert stored == [replaces(after.stamp, before.stamp) for before, after in some]
        assert reply == sum(stored)
        won += reply
    assert 400 < won < 1_000


WHOLE = Head(offset=1, decay=0)
SHORTEST = struct.pack("<dddH", 0.5, 2e15, 9, 0)


@pytest.mark.parametrize(
    ("known", "offered", "is_stored"),
    [
        (None, WHOLE.value(), True),
        (b"", WHOLE.value(), True),
        (SHORTEST[:25], WHOLE.value(), True),
        (SHORTEST, struct.pack("<dddH", 0.5, 2e15, 9, 0) + b"{}", False),
        (SHORTEST, struct.pack("<dddH", 0.5, 2e15, 10, 0) + b"{}", True),
        # a section that is cut is none: a generation of 0 loses against any other
        (replace(WHOLE, offset=9).value(b"")[:-1], WHOLE.value(), True),
        (replace(WHOLE, offset=9).value(b""), WHOLE.value(), False),
        (replace(WHOLE, offset=9, section=2).value(b"")[:-1], WHOLE.value(), True),
        (replace(WHOLE, offset=9, section=2).value(b""), WHOLE.value(), False),
    ],
    ids=[
        "absent", "empty", "too short", "shortest, same offset", "shortest, later offset", "section cut", "section whole",
        "earlier section cut", "earlier section whole",
    ],
)  # fmt: skip
async def test_a_value_that_is_cut_says_no_more_than_what_is_left_of_it(
    line: Line, unique: Callable[[], str], known: bytes | None, offered: bytes, is_stored: bool
) -> None:
    assert await put(line, {unique(): known}, [offered]) == (int(is_stored), [is_stored])


@pytest.mark.parametrize(
    ("number", "is_one"),
    [
        (float("nan"), False), (float("inf"), False), (-1.0, False), (2.0**53, False), (2.0**60, False),
        (2.0**53 - 1, True), (9.0, True),
    ],
)  # fmt: skip
@pytest.mark.parametrize("field", ["offset", "generation"])
@pytest.mark.parametrize("epoch", ["c/a", "c/b"], ids=["same epoch", "other epoch"])
async def test_a_stored_number_that_cannot_be_one_loses_and_one_that_can_counts(
    line: Line, unique: Callable[[], str], field: str, number: float, is_one: bool, epoch: str
) -> None:
    known = replace(Head(offset=9, generation=9, section=2, decay=0, epoch=epoch), **{field: number})
    twins = [replace(Head(offset=2, generation=8, decay=0), section=section) for section in (2, 3)]

    outcomes = [await put(line, {unique(): known.value()}, [twin.value()]) for twin in twins]

    expected = not is_one or replaces(twins[0].stamp, known.stamp)
    assert outcomes == [(int(expected), [expected])] * 2
    assert not is_one or not expected


async def test_a_stored_offset_of_0_is_one(line: Line, unique: Callable[[], str]) -> None:
    first = Head(offset=0, decay=12)

    assert await put(line, {unique(): first.value()}, [first.value(b"{}")]) == (0, [False])


@pytest.mark.parametrize(
    ("user", "count", "at_once"), [("", 1, 0), ("", 3, 0), ("", 4, 1), ("", 70, 1), ("few:few@", 4, 0)]
)
async def test_from_four_scores_on_one_command_writes_them_where_server_and_user_have_it(
    tmp_path: Path, user: str, count: int, at_once: int
) -> None:
    with running_redis(tmp_path) as server:
        known = say(server.port, "COMMAND", "INFO", "MSETEX")[0] is not None
        say(server.port, "ACL", "SETUSER", "few", "on", ">few", "~*", "&*", "+@all", *(["-msetex"] if known else []))
        line = Line(f"redis://{user}127.0.0.1:{server.port}/0")
        values = [Head(offset=n).value() for n in range(count)]

        (stored,) = await line.run(
            [Run(Script.named("put_scores"), [f"k{n}" for n in range(count)], [KEPT_MS, *values])], 5.0
        )

        await line.close()
        calls = say(server.port, "INFO", "commandstats").decode()
        kept = [say(server.port, "GET", f"k{n}") for n in range(count)]
        assert (stored, kept) == (count, values)
        assert calls.count("cmdstat_msetex:calls=1,") == (at_once if known else 0)
        assert (f"cmdstat_set:calls={count}," in calls) == (not (known and at_once))
        assert say(server.port, "ACL", "LOG") == []
