"""Authenticates requests: reads the service tokens of one port from their file and checks each request.

A port requires a token as soon as the file holds one for it, and from then on until the gate ends, so revoking the last
token opens no port. Beyond loopback it always requires one. If the file is gone or cannot be read, the tokens that were
valid stay valid, so that a mistake in the file locks no service out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Final

from gate.core.service_token import Access, ServiceToken
from gate.errors import RequestRejected, SettingInvalid, StateUnreadable
from gate.settings import Settings, is_loopback
from gate.stores.disk.tokens import TokenFile

READ_EVERY_S: Final = 1.0
CHALLENGE: Final = (b"www-authenticate", b'Bearer realm="upload-gate"')
_SCHEME: Final = b"bearer "
_LONGEST: Final = 200

Headers = Iterable[tuple[bytes, bytes]]


class ServiceTokens:
    """The tokens that open one port. `required` tells whether the port asks for one; `always` makes it ask in any case."""

    def __init__(self, access: Access, always: bool) -> None:
        self.access = access
        self._names: dict[bytes, str] = {}
        self.required = always

    def use(self, tokens: Sequence[ServiceToken]) -> None:
        """Let these tokens open the port, and no others. Once the port had a token, it never serves a request without one."""
        self._names = {token.digest: token.name for token in tokens if token.access is self.access}
        self.required = self.required or bool(self._names)

    @property
    def names(self) -> list[str]:
        """The names of those who hold a token."""
        return sorted(set(self._names.values()))

    def admit(self, headers: Headers) -> str:
        """The name of the token in `headers`. Raises RequestRejected where there is none that is valid.

        The look-up by the hash tells an attacker nothing about a valid token, however long it takes.
        """
        for name, value in headers:
            if name == b"authorization":
                if value[:7].lower() != _SCHEME or len(value) > _LONGEST:
                    break
                known = self._names.get(sha256(value[7:].strip()).digest())
                if known is None:
                    raise RequestRejected("token.unknown", "this token is not valid, or no longer")
                return known
        raise RequestRejected("token.missing", "send the service's token, as the header authorization: Bearer TOKEN")


def tokens_of(settings: Settings, say: Callable[[str], None]) -> TokensInForce:
    """The tokens of a gate's ports, read from their file. Where clients show certificates the check port needs none.

    Says which port asks nobody. Raises SettingInvalid if the file cannot be read, or if a port is open beyond loopback
    and there is no token for it.
    """
    hosts = {Access.CHECK: settings.host, Access.ADMIN: settings.admin_host}
    by_certificate = settings.tls is not None and settings.tls.client_ca is not None
    ports = {access: ServiceTokens(access, not is_loopback(host)) for access, host in hosts.items()}
    if by_certificate:
        ports[Access.CHECK] = ServiceTokens(Access.CHECK, always=False)
    tokens = TokensInForce(TokenFile(settings.tokens), ports[Access.CHECK], ports[Access.ADMIN], say)
    tokens.start()
    for access, port in ports.items():
        admin = " --admin" if access is Access.ADMIN else ""
        command = f"upload-gate token new NAME{admin} --file {settings.tokens}"
        if access is Access.CHECK and by_certificate:
            say("the check port is open to clients with a certificate of UPLOAD_GATE_TLS_CLIENT_CA")
        elif not port.required:
            say(
                f"the {access} port asks nobody for a token, as it is on loopback ({hosts[access]}); to change that: {command}"
            )
        elif not port.names:
            variable = "UPLOAD_GATE_HOST" if access is Access.CHECK else "UPLOAD_GATE_ADMIN_HOST"
            raise SettingInvalid(
                f"{variable} is {hosts[access]}, beyond loopback, and {settings.tokens} holds no token for the {access} port",
                f"make one with {command}, or listen on 127.0.0.1",
            )
    return tokens


class TokensInForce:
    """Keeps the tokens of both ports the ones in `file`. `say` logs."""

    def __init__(self, file: TokenFile, check: ServiceTokens, admin: ServiceTokens, say: Callable[[str], None]) -> None:
        self.check = check
        self.admin = admin
        self._file = file
        self._ports = (check, admin)
        self._say = say
        self._last: tuple[ServiceToken, ...] | str | None = None
        self._started = False

    def start(self) -> None:
        """Read the file before the first request. Raises SettingInvalid if it cannot be read."""
        try:
            self._use(self._file.read())
        except StateUnreadable as error:
            raise SettingInvalid(
                f"{self._file.path}: {error}", "restore it, or remove it and make new tokens with upload-gate token new"
            ) from None
        self._started = True

    async def watch(self, every_s: float = READ_EVERY_S) -> None:
        """Read the file every `every_s` seconds, until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            # in a thread: a file on a network may take long
            self._use(await asyncio.to_thread(self._read))

    def _read(self) -> tuple[ServiceToken, ...] | str | None:
        try:
            return self._file.read()
        except StateUnreadable as error:
            return str(error)

    def _use(self, tokens: tuple[ServiceToken, ...] | str | None) -> None:
        if tokens == self._last:
            return
        self._last = tokens
        if isinstance(tokens, tuple):
            for port in self._ports:
                port.use(tokens)
                if self._started:
                    holders = ", ".join(port.names) or ("nobody" if port.required else "everyone on this host")
                    self._say(f"the tokens of the {port.access} port have changed, it is open to {holders}")
        elif self._started:
            self._say(f"{self._file.path}: {tokens or 'the tokens are gone'}; those that were valid stay valid")
