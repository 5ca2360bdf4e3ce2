"""The bench's caller by a schedule: what it sends, when an answer is whole, and from when a latency counts."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.bench.rivals.caller import PING, TARGETS, call, is_whole, requests

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
SLOW_S = 0.02


@pytest.fixture
def slow_server() -> Iterator[socket.socket]:
    """A connection to something that answers each ping after a while."""
    ours, theirs = socket.socketpair()

    def answer() -> None:
        while theirs.recv(64):
            time.sleep(SLOW_S)  # what it does, not a wait for something
            theirs.sendall(b"+PONG\r\n")

    thread = threading.Thread(target=answer)
    thread.start()
    yield ours
    ours.close()
    thread.join()
    theirs.close()


def test_a_latency_counts_from_the_scheduled_time_though_the_connection_was_busy(slow_server: socket.socket) -> None:
    phase = call(PING, [slow_server], [b"PING\r\n"] * 5, rate=1e6)

    assert (phase.checks, phase.allowed) == (5, 5)
    assert phase.p99 > 4 * SLOW_S * 1e3, "the fifth was due at once and waited for four others"
    assert 4 * SLOW_S * 1e3 < phase.late_p99 < phase.p99, "it was sent when the fourth was answered"


def test_an_answer_is_whole_only_with_its_last_byte() -> None:
    assert not is_whole("gate", ANSWER[:20])
    assert not is_whole("gate", ANSWER + b"1234")
    assert is_whole("gate", ANSWER + b"12345")


def test_an_answer_of_another_status_is_a_fault() -> None:
    with pytest.raises(RuntimeError, match="408"):
        is_whole("gate", b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")


@pytest.mark.parametrize("kind", TARGETS)
def test_every_kind_of_server_gets_its_path_and_whole_bodies(kind: str) -> None:
    sent = requests(kind, 64, first=0, seed=1, accounts=0)

    assert len(sent) == 64 // TARGETS[kind].batch
    for each in sent:
        head, _, body = each.partition(b"\r\n\r\n")
        assert head.startswith(f"POST {TARGETS[kind].path} HTTP/1.1\r\n".encode())
        assert f"Content-Length: {len(body)}".encode() in head


def test_accounts_recur_where_their_number_is_given() -> None:
    sent = requests("gate", 100, first=0, seed=1, accounts=2)

    assert {each[each.index(b'"id":"') + 6 :].split(b'"')[0] for each in sent} == {b"a-000000", b"a-000001"}
