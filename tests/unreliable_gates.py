"""Servers in a gate's place that never answer, answer byte by byte, send what no gate sends, or far too much of it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
DRIP_EVERY_S = 0.02
HUGE = 100 << 20


class UnreliableGate:
    """Counts the connections it took and the bytes it could send. `ended` is set when the test ends."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connections = 0
        self.sent = 0
        self.ended = threading.Event()

    def send(self, connection: socket.socket, data: bytes) -> None:
        """Send `data`; raises OSError once the client has closed the connection."""
        connection.sendall(data)
        self.sent += len(data)


Behaviour = Callable[[UnreliableGate, socket.socket], None]


def never_answers(gate: UnreliableGate, connection: socket.socket) -> None:
    """Keep the connection, and say nothing."""
    gate.ended.wait()


def drips(gate: UnreliableGate, connection: socket.socket) -> None:
    """Send a byte every few milliseconds, for as long as the client takes them."""
    gate.send(connection, b"HTTP/1.1 200 OK\r\nserver: ")
    while not gate.ended.wait(DRIP_EVERY_S):
        gate.send(connection, b"x")


def sends_garbage(gate: UnreliableGate, connection: socket.socket) -> None:
    """Send what is no HTTP."""
    gate.send(connection, b"\x00\xff" * 100 + b"\r\n\r\n")


def sends_another_json(gate: UnreliableGate, connection: socket.socket) -> None:
    """Answer 200 with JSON that is no decision."""
    gate.send(connection, HEAD + b"content-length: 2\r\n\r\n[]")


def nests_deeply(gate: UnreliableGate, connection: socket.socket) -> None:
    """Answer 200 with JSON that is nested too deeply to be read."""
    gate.send(connection, HEAD + b"content-length: 200000\r\n\r\n" + b"[" * 200_000)


def sends_too_much(gate: UnreliableGate, connection: socket.socket) -> None:
    """Answer with a decision of 100 MB."""
    gate.send(connection, HEAD + b'content-length: %d\r\n\r\n{"decision":"deny"' % HUGE)
    while gate.sent < HUGE and not gate.ended.is_set():
        gate.send(connection, b" " * 65_536)


@contextmanager
def an_unreliable_gate(behaviour: Behaviour) -> Iterator[UnreliableGate]:
    """A server on a loopback port that reads a request and then does as `behaviour` says."""
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as connections:
        gate = UnreliableGate(listener.getsockname()[1])
        threads: list[threading.Thread] = []

        def serve(connection: socket.socket) -> None:
            with contextlib.suppress(OSError):
                connection.recv(65_536)
                behaviour(gate, connection)
            connection.close()

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection = connections.enter_context(listener.accept()[0])
                    gate.connections += 1
                    threads.append(threading.Thread(target=serve, args=(connection,)))
                    threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield gate
        finally:
            gate.ended.set()
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for thread in threads:
                thread.join()
