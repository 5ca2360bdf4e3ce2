"""Sends generated requests to a real gate by its OpenAPI document: `make fuzz ARGS="--cases 100000"`.

A third of the cases conforms to the document, a third breaks it by its shape, a third is bytes: conforming bodies that
were cut, flipped and spliced. Each answer must be a documented status with the documented type and content, and no 5xx.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jsonschema
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from schemathesis import GenerationMode

from gate.serve.openapi import OPERATIONS, Operation, Port, openapi
from tests.edges.running_gate import running_gate

DOCUMENT = json.loads(openapi())
STREAMS = ("/v1/board/events",)
"""Paths whose answer does not end."""
HEAVY = ("/v1/check", "/v1/checks")
"""Paths that get half of the cases."""
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


class Caller:
    """Sends requests over connections that are kept, checks each answer, and counts the answers by their status."""

    def __init__(self, ports: dict[Port, int]) -> None:
        self.statuses: Counter[tuple[str, str, int]] = Counter()
        self.problems: list[str] = []
        self._connections = {
            port: http.client.HTTPConnection("127.0.0.1", number, timeout=10) for port, number in ports.items()
        }
        self._validators: dict[int, jsonschema.Draft202012Validator] = {}

    def close(self) -> None:
        """Close the connections."""
        for connection in self._connections.values():
            connection.close()

    @property
    def cases(self) -> int:
        """How many answers were checked."""
        return sum(self.statuses.values())

    def send(self, operation: Operation, target: str, body: bytes | None, headers: dict[str, str]) -> None:
        """Send one request and note what is wrong with its answer."""
        connection = self._connections[operation.port]
        kept = connection.sock is not None
        try:
            connection.request(operation.method.upper(), target, body, headers)
            answer = connection.getresponse()
            data = answer.read()
        except (ConnectionError, http.client.HTTPException):
            connection.close()
            if not kept:
                self.problems.append(f"{operation.method} {target} {body!r}: no answer")
            else:  # the server may have closed a kept connection
                self.send(operation, target, body, headers)
            return
        except ValueError:  # http.client does not send such a header or target
            connection.close()
            return
        self.statuses[operation.method, operation.path, answer.status] += 1
        wrong = self._wrong(operation, answer.status, answer.headers.get("content-type", ""), data)
        if wrong:
            self.problems.append(
                f"{operation.method} {target} {headers} {body!r}: {answer.status} {wrong}: {data[:300]!r}"
            )

    def _wrong(self, operation: Operation, status: int, kind: str, data: bytes) -> str | None:
        documented = DOCUMENT["paths"][operation.path][operation.method]["responses"].get(str(status))
        if status >= 500:
            return "is a fault"
        if documented is None:
            return "is not documented"
        if "content" not in documented:
            return None if not data else "has a body"
        (wanted, content), *_ = documented["content"].items()
        if kind.partition(";")[0] != wanted:
            return f"has the type {kind}, not {wanted}"
        if not wanted.endswith("json"):
            return None
        schema = {**content["schema"], "components": DOCUMENT["components"]}
        validator = self._validators.setdefault(id(content), jsonschema.Draft202012Validator(schema))
        error = next(validator.iter_errors(json.loads(data)), None)
        return None if error is None else f"breaks its schema at {error.json_path}: {error.message[:200]}"


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


def main() -> int:
    """Run from the command line; the exit code is 1 if an answer was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100_000, help="how many requests (default 100,000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the generator (default 0)")
    options = parser.parse_args()
    caller = run_cases(options.cases, options.seed, print)
    for (method, path, status), count in sorted(caller.statuses.items()):
        print(f"{count:>7}  {method} {path} {status}")
    faults = sum(count for (_, _, status), count in caller.statuses.items() if status >= 500)
    print(f"{caller.cases} cases, {faults} answers 5xx, {len(caller.problems)} wrong")
    for problem in caller.problems[:20]:
        print(problem, file=sys.stderr)
    return 1 if caller.problems else 0


if __name__ == "__main__":
    sys.exit(main())
