"""Sends generated requests to a real gate by its OpenAPI document: `make fuzz ARGS="--cases 100000"`.

A third of the cases conforms to the document, a third breaks it by its shape, a third is bytes: conforming bodies that
were cut, flipped and spliced. Each answer must be a documented status with the documented type and content, and no 5xx.

A long run is made of parts, each with a gate and a seed of its own: `--from-part 7` goes on with the seventh.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from schemathesis import GenerationMode

from gate.serve.openapi import OPERATIONS, Operation, Port
from tests.edges.fuzz_caller import DOCUMENT, Caller
from tests.edges.running_gate import running_gate

STREAMS = ("/v1/board/events",)
"""Paths whose answer does not end."""
HEAVY = ("/v1/check", "/v1/checks")
"""Paths that get half of the cases."""
A_PART = 5_000
SEEDS_A_RUN = 1_000_000
"""How many seeds lie between two runs, so that no part of one repeats a part of the other."""
SHARES = {"conforming": GenerationMode.POSITIVE, "breaking": GenerationMode.NEGATIVE, "bytes": None}


@schemathesis.serializer("application/toml")
def toml(context: Any, value: Any) -> bytes:
    """Text as it is, and any other value as JSON, which is not a policy either."""
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else json.dumps(value, default=str).encode()


@contextmanager
def gate_in_a_thread() -> Iterator[dict[Port, int]]:
    """The ports of a gate with stores in memory."""
    ports: dict[Port, int] = {}
    began, end = threading.Event(), threading.Event()

    async def run(home: str) -> None:
        async with running_gate(Path(home), takes_reports=True) as gate:
            ports.update({Port.CHECK: gate.port, Port.PAGES: gate.port, Port.ADMIN: gate.admin_port})
            began.set()
            await asyncio.to_thread(end.wait)

    with tempfile.TemporaryDirectory() as home:
        thread = threading.Thread(target=lambda: asyncio.run(run(home)), name="gate")
        thread.start()
        try:
            if not began.wait(30):
                raise TimeoutError("the gate did not start")
            yield ports
        finally:
            end.set()
            thread.join()


def bodies(operation: Operation) -> st.SearchStrategy[bytes]:
    """Bytes that resemble the body of an operation."""
    whole = {
        "/v1/check": b'{"upload_id":"u-1","account":{"id":"a-1","class":"new"},"media":{"kind":"image","bytes":1},"ip":"::1"}',
        "/v1/checks": b'{"checks":[{"upload_id":"u-1","account":{"id":"a-1"},"media":{"kind":"image"}}]}',
        "/v1/peek": b'{"upload_id":"u-1","account":{"id":"a-1"},"media":{"kind":"image","sha256":"a","phash":"b"}}',
        "/v1/reports": b'{"reports":[{"account":{"id":"a-1"},"upload_id":"u-1","outcome":"failed","bytes":5}]}',
        "/v1/policy/trial": b'version = 1\ndefault_class = "a"\n[classes.a]\n',
    }.get(operation.path, b'{"a":[1]}')
    pieces = st.sampled_from([
        b"", b"{", b"}", b"[", b'"', b"\\", b"\\ud800", b"\xff", b"\x00", b"1e400", b"-", b"9" * 400, b"[" * 2000, b"NaN",
        b'{"a":' * 500, b"null", b"true", b"\xef\xbb\xbf", b",", b":", b"\r\n", b'"account":null', b'"checks":', b" " * 70_000,
    ]) | st.binary(max_size=8)  # fmt: skip
    places = st.integers(0, len(whole))
    edits = st.lists(st.tuples(places, places, pieces), min_size=1, max_size=4)

    def edited(changes: list[tuple[int, int, bytes]]) -> bytes:
        data = whole
        for one, other, piece in changes:
            start, end = sorted((min(one, len(data)), min(other, len(data))))
            data = data[:start] + piece + (data[start:] if len(piece) % 2 else data[end:])
        return data

    return st.builds(edited, edits)


@dataclass(slots=True)
class Tally:
    """What all parts of a run add up to."""

    statuses: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    problems: int = 0
    late: int = 0

    @property
    def faults(self) -> int:
        """How many answers had a status of 500 or more."""
        return sum(count for (_, _, status), count in self.statuses.items() if status >= 500)

    def add(self, caller: Caller) -> None:
        """Add what one part has met."""
        self.statuses += caller.statuses
        self.problems += len(caller.problems)
        self.late += caller.late


def run_cases(count: int, seed: int, say: Callable[[str], None]) -> Caller:
    """Send about `count` cases to a gate of their own; at least as many."""
    schema = schemathesis.openapi.from_dict(DOCUMENT)
    posts = [operation for operation in OPERATIONS if operation.takes is not None]
    with gate_in_a_thread() as ports, closing(Caller(ports)) as caller:
        for operation in OPERATIONS:
            if operation.path in STREAMS:
                continue
            heavy = operation.path in HEAVY
            share = count // 2 // len(HEAVY) if heavy else count // 2 // (len(OPERATIONS) - len(HEAVY))
            kinds = list(SHARES) if operation in posts else ["conforming"]
            for kind in kinds:
                _run(schema, caller, operation, kind, -(-share // len(kinds)), seed)
            say(f"{caller.cases:>7} cases, after {operation.method} {operation.path}")
        round_ = 0
        while caller.cases < count:  # strategies that have few examples end early
            round_ += 1
            for operation in posts[: len(HEAVY)]:
                _run(schema, caller, operation, "bytes", max(50, (count - caller.cases) // 2), seed + round_)
        return caller


def _run(schema: Any, caller: Caller, operation: Operation, kind: str, count: int, seed: int) -> None:
    mode = SHARES[kind]

    def case(drawn: Any) -> None:
        if mode is None:
            media = operation.takes[0] if operation.takes else "application/json"
            caller.send(operation, operation.path, drawn, {"content-type": media})
            return
        call = drawn.as_transport_kwargs(base_url="http://gate")
        query = urlencode(call.get("params") or {}, doseq=True, encoding="utf-8", errors="surrogatepass")
        body = call.get("data")
        data = json.dumps(call["json"]).encode() if call.get("json") is not None else body
        headers = {str(k): str(v) for k, v in (call.get("headers") or {}).items() if str(v).isprintable()}
        if isinstance(data, str):
            data = data.encode("utf-8", "surrogatepass")
        caller.send(
            operation,
            operation.path + (f"?{query}" if query else ""),
            data if isinstance(data, bytes) else None,
            headers,
        )

    cases = bodies(operation) if mode is None else schema[operation.path][operation.method.upper()].as_strategy(mode)
    quiet = settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    seeded(seed)(quiet(given(cases)(case)))()


def run_parts(cases: int, seed: int, from_part: int, say: Callable[[str], None]) -> Tally:
    """Send about `cases` cases in parts of `A_PART`; those before `from_part` are left out."""
    tally = Tally()
    parts = -(-cases // A_PART)
    for part in range(from_part, parts + 1):
        began = time.monotonic()
        caller = run_cases(min(A_PART, cases - (part - 1) * A_PART), seed * SEEDS_A_RUN + part, lambda line: None)
        tally.add(caller)
        say(
            f"part {part} of {parts}: {caller.cases} cases in {time.monotonic() - began:.0f} s, "
            f"{len(caller.problems)} wrong, {caller.late} late"
        )
        for problem in caller.problems[:20]:
            say(problem)
    return tally


def main() -> int:
    """Run from the command line; the exit code is 1 if an answer was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100_000, help="how many requests (default 100,000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the generator (default 0)")
    parser.add_argument(
        "--from-part", type=int, default=1, help=f"go on with this part of {A_PART:,} cases (default 1)"
    )
    options = parser.parse_args()
    tally = run_parts(options.cases, options.seed, options.from_part, lambda line: print(line, flush=True))
    for (method, path, status), count in sorted(tally.statuses.items()):
        print(f"{count:>7}  {method} {path} {status}")
    print(f"{tally.statuses.total()} cases, {tally.faults} answers 5xx, {tally.problems} wrong, {tally.late} late")
    return 1 if tally.problems else 0


if __name__ == "__main__":
    sys.exit(main())
