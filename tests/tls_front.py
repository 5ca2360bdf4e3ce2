"""TLS in front of servers that speak none: each gets a port at which it is reached with TLS, and without for its own kind.

The servers of a Cluster and Sentinels talk to each other without TLS through the same ports. A client of ours that does so
is counted.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

from gate.local.free_port import LOOPBACK

CHUNK = 1 << 16
TLS_HANDSHAKE = b"\x16"


class TlsFronts:
    """Ports that lead to the servers behind them. `client_name` marks the connections that must use TLS."""

    def __init__(self, certificates: Path, client_name: bytes) -> None:
        self.encrypted = 0
        """Connections that used TLS."""
        self.unencrypted_clients = 0
        """Connections without TLS that sent `client_name`."""
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificates / "ours.pem", certificates / "ours.key")
        self._client_name = client_name
        self._ports: dict[int, int] = {}
        self._listeners: list[socket.socket] = []
        self._is_open = True

    def port_of(self, server_port: int) -> int:
        """The port with TLS of the server on `server_port`; it listens from the first call on."""
        if server_port not in self._ports:
            listener = socket.create_server((LOOPBACK, 0))
            self._ports[server_port] = listener.getsockname()[1]
            self._listeners.append(listener)
            threading.Thread(target=self._accept, args=(listener, server_port), daemon=True).start()
        return self._ports[server_port]

    def close(self) -> None:
        """End all listeners and, within a moment, all connections."""
        self._is_open = False
        for listener in self._listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _accept(self, listener: socket.socket, server_port: int) -> None:
        while self._is_open:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connected, args=(client, server_port), daemon=True).start()

    def _connected(self, client: socket.socket, server_port: int) -> None:
        with contextlib.suppress(OSError), contextlib.closing(client):
            is_tls = client.recv(1, socket.MSG_PEEK) == TLS_HANDSHAKE
            with contextlib.closing(self._context.wrap_socket(client, server_side=True) if is_tls else client) as inner:
                self.encrypted += is_tls
                with socket.create_connection((LOOPBACK, server_port)) as server:
                    self._pass_on(inner, server, is_tls)

    def _pass_on(self, client: socket.socket, server: socket.socket, is_tls: bool) -> None:
        while self._is_open:
            pending = isinstance(client, ssl.SSLSocket) and client.pending()
            readable = [client] if pending else select.select([client, server], [], [], 1.0)[0]
            for end in readable:
                data = end.recv(CHUNK)
                if not data:
                    return
                if end is client and not is_tls and self._client_name in data:
                    self.unencrypted_clients += 1
                (server if end is client else client).sendall(data)


@contextlib.contextmanager
def tls_fronts(certificates: Path, client_name: bytes) -> Iterator[TlsFronts]:
    """Ports with TLS, closed at the end."""
    fronts = TlsFronts(certificates, client_name)
    try:
        yield fronts
    finally:
        fronts.close()
