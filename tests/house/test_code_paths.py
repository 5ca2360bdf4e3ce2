"""The paths that the README of each package describes are the paths that the code takes.

A README lists the files of a path in order, as a numbered list of their names in backticks, under a heading that begins with
"The path of". A line that begins with "Types:" names files that hold nothing but types; the path uses them, and they are
not counted. A line that begins with "Wired in" names the file that plugs adapters into ports.
"""

from __future__ import annotations

import ast
import asyncio
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import pytest

from gate.app.check import Check
from gate.app.watch import Watch
from gate.core.pause.board import Board
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Action, Scope
from gate.core.pseudonym import Pseudonyms
from gate.core.score import Score, Stamp
from gate.metrics import Counts
from gate.policyfile import load_policy
from gate.ports.boards import Acknowledgement
from gate.records.score import with_bytes
from gate.serve.clock import SystemClock
from gate.serve.health import Health
from gate.serve.hot.app import GateApp
from gate.serve.server import listening, serving
from gate.stores.disk.break_glass import BreakGlassFile
from gate.stores.disk.snapshot import BoardSnapshot
from gate.stores.local_buckets import LocalBuckets
from gate.stores.memory.boards import MemoryBoardStore
from gate.stores.redis.scores import RedisScoreStore
from gate.stores.redis.takes import RedisTakeStore
from tests.house.sources import parsed

ROOT = Path(__file__).parents[2]
MOST_FILES = 12
READMES = [path for path in (ROOT / "gate" / "README.md", ROOT / "streams" / "README.md") if path.exists()]
PATH = re.compile(r"`([\w/]+\.py)`")
CHECK = (
    b'{"upload_id":"u-%d","account":{"id":"a-1"},"media":{"kind":"image","bytes":1000},"surface":"post",'
    b'"ip":"203.0.113.9","device":"d-1"}'
)


@dataclass(frozen=True, slots=True)
class CodePath:
    """One path as its README lists it; paths are relative to the repository."""

    files: tuple[str, ...]
    types: tuple[str, ...]
    wired_in: str | None


def code_path(readme: Path) -> CodePath:
    lines = readme.read_text().splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("#") and "The path of" in line)
    section = lines[start + 1 :]
    end = next((n for n, line in enumerate(section) if line.startswith("#")), len(section))
    paragraphs = "\n".join(section[:end]).split("\n\n")
    listed = [PATH.findall(line)[0] for line in section[:end] if re.match(r"\d+\. ", line)]
    types = [path for text in paragraphs if text.startswith("Types:") for path in PATH.findall(text)]
    wired = [path for text in paragraphs if text.startswith("Wired in") for path in PATH.findall(text)]
    return CodePath(tuple(listed), tuple(types), wired[0] if wired else None)


def imported_by(path: str) -> set[str]:
    """The files of ours that a file imports, also inside functions, and those behind the names it takes of a package."""
    direct = imports_of(path)
    packages = [file.with_suffix("") / "__init__.py" for file in map(Path, direct)]
    return direct.union(*(imports_of(str(package)) for package in packages if (ROOT / package).is_file()))


def imports_of(path: str) -> set[str]:
    """The files of ours that stand in a file's own imports."""
    modules: set[str] = set()
    for node in ast.walk(parsed(ROOT / path)):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            modules |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
    return {f"{module.replace('.', '/')}.py" for module in modules}


@contextmanager
def functions_that_run(ran: set[str]) -> Iterator[None]:
    """Collects the files of ours whose functions this thread calls. Code that runs at import is not a call."""

    def note(frame: FrameType, event: str, arg: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(str(ROOT)) and code.co_name != "<module>":
            ran.add(str(Path(code.co_filename).relative_to(ROOT)))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(before)


def of_ours(ran: set[str]) -> set[str]:
    return {path for path in ran if path.startswith(("gate/", "streams/"))}


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.parent.name)
def test_a_path_is_at_most_twelve_files_and_each_exists(readme: Path) -> None:
    listed = code_path(readme)

    assert 2 <= len(listed.files) <= MOST_FILES
    assert len(set(listed.files)) == len(listed.files)
    assert [path for path in (*listed.files, *listed.types) if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.parent.name)
def test_each_file_of_a_path_is_imported_by_an_earlier_one_or_plugged_in_by_the_wiring(readme: Path) -> None:
    listed = code_path(readme)
    plugged = set() if listed.wired_in is None else imported_by(listed.wired_in)

    reached = [
        any(path in imported_by(earlier) for earlier in listed.files[:n]) or path in plugged
        for n, path in enumerate(listed.files)
    ]

    assert [path for path, ok in zip(listed.files[1:], reached[1:], strict=True) if not ok] == []


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.parent.name)
def test_the_files_that_a_path_lists_as_types_hold_no_function(readme: Path) -> None:
    for path in code_path(readme).types:
        body = parsed(ROOT / path).body
        functions = [node for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]

        assert functions == [], path


async def test_a_check_runs_through_the_files_of_its_path_and_through_no_other(
    tmp_path: Path, redis_url: str, unique: Callable[[], str]
) -> None:
    listed, ran = code_path(ROOT / "gate" / "README.md"), set[str]()
    clock, counts = SystemClock(), Counts()
    now_us = clock.now_us()
    prefix = f"{unique()}:"
    scores, store = RedisScoreStore(redis_url, prefix), RedisTakeStore(redis_url, prefix, 5.0)
    await store.open()
    await scores.put_scores([with_bytes(Score("a-1", 0.1, 0.0, 0.1, (), now_us, now_us, Stamp("e", 1), "s"))])
    await scores.close()
    check = Check(load_policy(None), store, clock, Pseudonyms(b"salt"), counts, time.perf_counter_ns, LocalBuckets)
    scope = Scope(surfaces=frozenset({"avatar"}))
    pause = Pause("p-1", 1, scope, Action.STOP, "raid", "", "ann", now_us - 1, now_us + 60_000_000)
    check.board = Board({"p-1": pause})
    boards = MemoryBoardStore(clock)
    seen = Acknowledgement("gate", "http://gate", 0, 0)
    snapshot, glass = BoardSnapshot(tmp_path / "board.json"), BreakGlassFile(tmp_path / "glass.json")
    watch = Watch(check, boards, clock, seen, snapshot, glass, lambda text: None)
    app = GateApp(check, Health(check, watch, clock, lambda: 0, lambda: None), clock, lambda: 0.0)

    with listening("127.0.0.1", 0, "PORT") as port:
        async with serving(app, port):
            answers = [await post(port.getsockname()[1], CHECK % 0)]
            with functions_that_run(ran):
                answers.append(await post(port.getsockname()[1], CHECK % 1))
    await store.close()

    assert [answer.count(b'"decision":"allow"') for answer in answers] == [1, 1]
    assert sum(counts.store_errors.values()) == 0
    assert of_ours(ran) - set(listed.files) - set(listed.types) == set()
    assert set(listed.files) - ran == set()


async def post(port: int, body: bytes) -> bytes:
    """The answer to one check, head and body."""
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = b"POST /v1/check HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\n"
        writer.write(head + b"content-length: %d\r\n\r\n" % len(body) + body)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer
