"""Runs one app on one listening socket, and stops it. The caller chooses the app and when to stop.

The app of the hot port is served by `gate.serve.hot.server`, an ASGI app by uvicorn.
"""

from __future__ import annotations

import asyncio
import errno
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, Final, Protocol

from gate.errors import LocalServerError, SettingInvalid
from gate.serve.asgi import OneWriteProtocol, SweepingServer
from gate.serve.background import in_background
from gate.serve.certificates import CertificatesInForce, unusable
from gate.serve.hot.edge_limits import KEEP_ALIVE_S, EdgeConfig, EdgeLimits
from gate.serve.hot.exchange import HotApp
from gate.serve.hot.server import BACKLOG, DRAIN_S, HotServer
from gate.settings import TlsFiles

NO_LIMITS: Final = EdgeLimits()
"""The default limits, whose refusals nobody counts."""


class Running(Protocol):
    """A server that runs."""

    @property
    def ended(self) -> asyncio.Event:
        """Set when it has stopped serving."""
        ...


class Server(SweepingServer):
    """A uvicorn server without its signal handlers, because a second SIGTERM must not become a hard exit."""

    def __init__(self, app: Any, limits: EdgeLimits, tls: TlsFiles | None = None) -> None:
        config = EdgeConfig(
            app,
            http=OneWriteProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=DRAIN_S,
            timeout_keep_alive=KEEP_ALIVE_S,
            **({} if tls is None else _tls_options(tls)),
        )
        config.limits = limits
        super().__init__(config)
        self.ended = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no handlers: the wiring installs its own."""
        yield

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until `should_exit` is set. Sets `ended` when it returns or raises."""
        try:
            await super().serve(sockets)
        finally:
            self.ended.set()


@asynccontextmanager
async def serving(
    app: Any, port: socket.socket, limits: EdgeLimits = NO_LIMITS, tls: TlsFiles | None = None
) -> AsyncIterator[Running]:
    """Serve `app` on a listening socket. On exit, requests that are under way have two seconds to finish.

    Raises SettingInvalid if the files of `tls` cannot be used.
    """
    if isinstance(app, HotApp):
        async with AsyncExitStack() as stack:
            certificates = None if tls is None else CertificatesInForce(tls)
            if certificates is not None:
                await stack.enter_async_context(in_background(certificates.watch, "certificates"))
            hot = HotServer(app, limits, None if certificates is None else certificates.context)
            stack.push_async_callback(hot.stop)
            await hot.start(port)
            yield hot
        return
    server = _server(app, limits, tls)
    task = asyncio.create_task(server.serve([port]), name="http server")
    try:
        while not server.started and not task.done():
            await asyncio.sleep(0.005)
        yield server
    finally:
        server.should_exit = True
        await task


def _server(app: Any, limits: EdgeLimits, tls: TlsFiles | None) -> Server:
    server = Server(app, limits, tls)
    try:
        server.config.load()
    except (OSError, ssl.SSLError) as error:
        if tls is None:
            raise
        raise unusable(error, tls) from None
    return server


def _tls_options(tls: TlsFiles) -> dict[str, Any]:
    """uvicorn's options for TLS. A client without a certificate of the authorities gets no connection."""
    options: dict[str, Any] = {"ssl_certfile": str(tls.cert), "ssl_keyfile": str(tls.key)}
    if tls.client_ca is not None:
        options |= {"ssl_ca_certs": str(tls.client_ca), "ssl_cert_reqs": ssl.CERT_REQUIRED}
    return options


def allow_files(wanted: int) -> int:
    """Let this process open `wanted` files and sockets, or as many as the system permits. Returns how many it may open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    permitted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < permitted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (permitted, hard))
        return permitted
    return soft


@contextmanager
def listening(host: str, port: int, variable: str, shared: bool = False) -> Iterator[socket.socket]:
    """A listening socket. Raises LocalServerError if another process has the port, SettingInvalid if the address cannot
    be bound otherwise; both name `variable`. Processes that all bind a port as `shared` get its connections in turn.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            listener.bind((host, port))
            listener.listen(BACKLOG)
        except OSError as error:
            problem = f"cannot listen on {host}:{port}: {error.strerror or error}"
            kind = LocalServerError if error.errno == errno.EADDRINUSE else SettingInvalid
            raise kind(problem, f"free it, or choose another with {variable}") from error
        listener.setblocking(False)
        yield listener
