"""The traffic process: asks, reports what it was answered, and goes on where the gate or Kafka is away."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from gate.core.account import Account
from gate.core.event import Attempted, Completed, Event
from gate.core.media import Media
from gate.core.request import CheckRequest
from gate.errors import StoreUnavailable
from gate.local.free_port import free_port
from streams.traffic import gate_client as asking
from streams.traffic.gate_client import GateClient, GateUnreachable
from streams.traffic.run import Recording, Simulated, Traffic, TrafficOptions
from streams.traffic.simulate import Truth, Upload
from tests.waiting import wait_until

SECOND_US = 1_000_000


def upload(number: int, at_us: int = 0) -> Upload:
    return Upload(at_us, CheckRequest(f"u-{number}", Account(f"a-{number}"), Media("image")), Truth.PERSON)


class Given:
    """A source that gives its uploads at the first call."""

    def __init__(self, uploads: list[Upload]) -> None:
        self._uploads = uploads

    def due(self, now_us: int) -> list[Upload]:
        due, self._uploads = self._uploads, []
        return due

    @property
    def is_over(self) -> bool:
        return not self._uploads


class OneAtATime:
    """A source that gives one upload at each call."""

    def due(self, now_us: int) -> list[Upload]:
        return [upload(now_us)]

    is_over = False


class Kept:
    """Kafka, which may be away."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.away = False

    async def send_many(self, events: Sequence[Event]) -> None:
        if self.away:
            raise StoreUnavailable("nobody there")
        self.events += events


@asynccontextmanager
async def gate(*answers: bytes, heads: list[bytes] | None = None) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that gives each call the next of `answers`, the last one for ever; and the bodies it was sent."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if heads is not None:
                    heads.append(head)
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                asked.append(await reader.readexactly(length))
                writer.write(answers[min(len(asked), len(answers)) - 1])
                await writer.drain()
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
    finally:
        server.close()
        await server.wait_closed()


def answer(*decisions: str, status: str = "200 OK", extra: str = "") -> bytes:
    body = json.dumps({"decisions": [{"decision": decision, "stage": "default"} for decision in decisions]})
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{extra}\r\n{body}".encode()


async def run(url: str, uploads: list[Upload], kept: Kept, said: list[str]) -> None:
    caller = GateClient(url)
    try:
        traffic = Traffic(Given(uploads), caller, kept, said.append, seed=1)
        await traffic.step(0)
        await traffic.step(10**15)
    finally:
        await caller.close()


async def test_each_upload_is_asked_for_and_reported_with_its_decision() -> None:
    kept, said = Kept(), list[str]()

    async with gate(answer("allow", "deny")) as (url, asked):
        await run(url, [upload(1), upload(2)], kept, said)

    attempts = [event for event in kept.events if isinstance(event, Attempted)]
    assert [(event.account.id, event.decision) for event in attempts] == [("a-1", "allow"), ("a-2", "deny")]
    assert [check["account"]["id"] for check in json.loads(asked[0])["checks"]] == ["a-1", "a-2"]
    assert said == []


async def test_traffic_is_over_once_its_last_uploads_have_completed_and_never_before(tmp_path: Path) -> None:
    kept = Kept()
    file = tmp_path / "rows.jsonl"
    file.write_text(
        '{"account_id":"a-1","t":1000,"seq":0,"label":0}\n{"account_id":"a-2","t":1010,"seq":1,"label":0}\n'
    )

    async with gate(answer("allow")) as (url, _):
        caller = GateClient(url)
        traffic = Traffic(Recording(file, 0, 1.0), caller, kept, [].append, seed=1)
        over = []
        for second in range(60):
            await traffic.step(second * SECOND_US)
            over.append(traffic.is_over(second * SECOND_US))
        await caller.close()

    assert over == sorted(over)
    assert not any(over[:10])
    assert over[-1]
    assert {event.upload_id for event in kept.events if isinstance(event, Completed)} == {
        event.upload_id for event in kept.events if isinstance(event, Attempted)
    }


async def test_only_what_was_let_in_completes() -> None:
    kept = Kept()

    async with gate(answer("review", "paused", "throttle", "challenge", "allow")) as (url, _):
        await run(url, [upload(i) for i in range(5)], kept, [])

    assert {event.upload_id for event in kept.events if isinstance(event, Completed)} == {"u-0", "u-4"}


async def test_without_a_gate_uploads_go_ahead_and_it_is_said_once() -> None:
    kept, said = Kept(), list[str]()
    uploads = [upload(i) for i in range(120)]

    await run(f"http://127.0.0.1:{free_port()}", uploads, kept, said)

    attempts = [event for event in kept.events if isinstance(event, Attempted)]
    assert [event.decision for event in attempts] == [None] * 120
    assert len(said) == 1
    assert "the gate does not answer" in said[0]


async def test_a_run_counts_its_uploads_the_decisions_and_the_events_that_kafka_stored() -> None:
    kept, clock = Kept(), 10**15

    async with gate(answer("allow")) as (url, _):
        caller = GateClient(url)
        traffic = Traffic(Given([upload(1)]), caller, kept, print, seed=1)
        kept.away = True
        await traffic.step(0)
        kept.away = False
        await traffic.step(clock)
        await caller.close()

    assert (traffic.sent.uploads, traffic.sent.decided) == (1, 1)
    assert traffic.sent.events == len(kept.events) > 0


async def test_a_gate_that_answers_something_else_each_time_does_not_fill_the_log() -> None:
    kept, said = Kept(), list[str]()
    errors = [b"HTTP/1.1 500 Error\r\nContent-Length: 2\r\n\r\n%02d" % number for number in range(30)]

    async with gate(*errors, answer("allow")) as (url, _):
        caller = GateClient(url)
        traffic = Traffic(OneAtATime(), caller, kept, said.append, seed=1)
        for second in range(31):
            await traffic.step(second)
        await caller.close()

    assert len(said) == 8 + 1
    assert said[-1] == "the gate answers again"


async def test_a_refused_token_is_said_in_words_and_the_next_one_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UPLOAD_GATE_TOKEN", raising=False)
    token, heads = tmp_path / "traffic.token", list[bytes]()
    options = TrafficOptions("http://gate", "kafka", token_file=token)
    refusal = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}"
    kept, said = Kept(), list[str]()

    async with gate(refusal, refusal, answer("allow"), heads=heads) as (url, _):
        caller = GateClient(url, options.token)
        traffic = Traffic(Given([upload(1)]), caller, kept, said.append, seed=1)
        await traffic.step(0)
        token.write_text("ugt_new\n")
        for number in (2, 3):
            await Traffic(Given([upload(number)]), caller, kept, said.append, seed=1).step(0)
        await caller.close()

    assert said[0] == (
        "the gate refuses the checks (401): they carry no token, which UPLOAD_GATE_TOKEN would give; uploads go on without "
        "a decision"
    )
    attempts = [event.decision for event in kept.events if isinstance(event, Attempted)]
    assert attempts == [None, None, "allow"]
    assert [b"Bearer ugt_new" in head for head in heads] == [False, False, True]


async def test_without_kafka_it_goes_on_and_says_so_once_and_when_it_is_back() -> None:
    kept, said = Kept(), list[str]()

    async with gate(answer("allow")) as (url, asked):
        caller = GateClient(url)
        kept.away = True
        await Traffic(Given([upload(1)]), caller, kept, said.append, seed=1).step(0)
        traffic = Traffic(Given([upload(2)]), caller, kept, said.append, seed=1)
        await traffic.step(0)
        kept.away = False
        await traffic.step(10**15)
        await caller.close()

    assert len(asked) == 2
    assert [line.split(" ")[0] for line in said] == ["events", "events", "Kafka"]
    assert said[-1] == "Kafka answers again"


@pytest.mark.parametrize(
    "bytes_", [
        answer("allow", status="503 Service Unavailable"),
        answer("allow", "allow"),
        answer(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nnot json!",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)  # fmt: skip
async def test_an_answer_that_is_none_counts_as_silence(bytes_: bytes) -> None:
    async with gate(bytes_) as (url, _):
        caller = GateClient(url)
        with pytest.raises(GateUnreachable):
            await caller.check_many([upload(1).request])
        await caller.close()


async def test_a_gate_that_hangs_is_given_up_and_the_next_call_uses_a_new_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asking, "DEADLINE_S", 0.1)

    async with gate(b"", answer("allow")) as (url, _):
        caller = GateClient(url)
        with pytest.raises(GateUnreachable, match="no answer within"):
            await caller.check_many([upload(1).request])
        assert await caller.check_many([upload(1).request]) == ["allow"]
        await caller.close()


async def test_a_connection_is_kept_unless_the_gate_closes_it() -> None:
    async with gate(answer("allow"), answer("deny", extra="Connection: close\r\n"), answer("allow")) as (url, _):
        caller = GateClient(url)
        decisions = [await caller.check_many([upload(i).request]) for i in range(3)]
        await caller.close()

    assert decisions == [["allow"], ["deny"], ["allow"]]


def test_simulated_uploads_come_at_their_rate() -> None:
    source = Simulated(1, 0, rate=20)

    found = [each for tick in range(1, 1001) for each in source.due(tick * 100_000)]

    assert 1800 < len(found) < 2200
    assert all(a.at_us <= b.at_us for a, b in pairwise(found))


def test_what_a_suspended_machine_missed_is_not_made_up_for() -> None:
    source = Simulated(1, 0, rate=20)
    source.due(SECOND_US)

    assert len(source.due(3600 * SECOND_US)) < 50


@pytest.mark.parametrize("signals", [1, 2])
def test_the_process_ends_well_on_any_number_of_signals(signals: int, tmp_path: Path) -> None:
    nobody = free_port()
    log = tmp_path / "traffic.log"
    with log.open("w") as target:
        process = subprocess.Popen(
            [sys.executable, "-m", "streams.traffic", "--gate", f"http://127.0.0.1:{nobody}",
             "--kafka", f"127.0.0.1:{nobody}"],
            stderr=target,
        )  # fmt: skip
    try:
        wait_until(lambda: "the gate does not answer" in log.read_text(), timeout_s=20)

        for _ in range(signals):
            process.send_signal(signal.SIGTERM)

        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(("seconds", "ended"), [(3600, 128 + signal.SIGTERM), (0, 0)])
def test_only_a_recording_that_was_sent_to_its_end_ends_the_process_with_0(
    seconds: int, ended: int, tmp_path: Path
) -> None:
    nobody = free_port()
    log, rows = tmp_path / "traffic.log", tmp_path / "rows.jsonl"
    rows.write_text("".join(f'{{"account_id":"a-1","t":{1000 + n * seconds},"seq":{n},"label":0}}\n' for n in range(2)))
    with log.open("w") as target:
        process = subprocess.Popen(
            [sys.executable, "-m", "streams.traffic", "--gate", f"http://127.0.0.1:{nobody}",
             "--kafka", f"127.0.0.1:{nobody}", "--replay", str(rows)],
            stderr=target,
        )  # fmt: skip
    try:
        wait_until(lambda: "the gate does not answer" in log.read_text(), timeout_s=20)

        if seconds:
            process.send_signal(signal.SIGTERM)

        assert process.wait(20) == ended
    finally:
        process.kill()
        process.wait()


def test_a_file_that_cannot_be_used_ends_the_process_with_2(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "streams.traffic", "--replay", f"{tmp_path}/none.jsonl"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip

    assert done.returncode == 2
    assert "none.jsonl: cannot be read" in done.stderr
