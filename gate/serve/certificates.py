"""The certificate, key and authorities of the check port, read again when their files change.

A connection uses the files that are in force when its handshake begins, and keeps them. Files that cannot be used, such as
when a renewal has replaced one of two, change nothing, and the log says so. Where clients show certificates, the server issues
no session tickets and ends older sessions, so that a client whose authority was removed cannot resume one.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from pathlib import Path
from typing import Final

from gate.errors import OTHER_KEY, SettingInvalid, tls_files_problem
from gate.settings import TlsFiles

READ_EVERY_S: Final = 1.0

log = logging.getLogger("upload_gate.tls")

_Stamps = tuple[tuple[int, int, int] | None, ...]


class CertificatesInForce:
    """The TLS context of the listening port (`context`), which follows the files. Raises SettingInvalid if they are unusable."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._read = self._seen = _stamps(files)
        self._problem = ""
        """Why the files on disk are not in force; logged once."""
        self._current = tls_context(files)
        self._changed_s = 0
        """When the files in force were read, in seconds since 1970; 0 for those of the start."""
        self.context = tls_context(files)
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> int | None:
        """The ssl module calls it at the start of each handshake. Returns None, or the alert that ends the handshake."""
        if self._files.client_ca is not None and connection.session_reused:
            session = connection.session
            if session is None or session.time <= self._changed_s:
                return ssl.ALERT_DESCRIPTION_ACCESS_DENIED  # the client forgets the session, and begins a new one
        connection.context = self._current
        return None

    async def watch(self, every_s: float = READ_EVERY_S) -> None:
        """Look at the files every `every_s` seconds, until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            await self.look()

    async def look(self) -> None:
        """Put changed files into force, once two looks in a row have found them the same.

        Files that cannot be used are tried at each look: what kept the gate from reading them, such as their mode, may change
        without a change of their content.
        """
        stamps = await asyncio.to_thread(_stamps, self._files)
        before, self._seen = self._seen, stamps
        if stamps == self._read or stamps != before:
            return
        try:
            self._current = await asyncio.to_thread(tls_context, self._files)
        except SettingInvalid as error:
            if str(error) != self._problem:
                self._problem = str(error)
                log.warning("the changed certificates cannot be used, the earlier ones stay in force: %s", error)
        else:
            self._read, self._problem = stamps, ""
            self._changed_s = int(time.time())
            log.info("the changed certificates of %s are in force", self._files.cert)


def tls_context(files: TlsFiles) -> ssl.SSLContext:
    """TLS of the check port. A client without a certificate of the authorities gets no connection. Raises SettingInvalid."""
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(files.cert, files.key)
        if files.client_ca is not None:
            context.load_verify_locations(files.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
            context.options |= ssl.OP_NO_TICKET
            context.num_tickets = 0
    except (OSError, ssl.SSLError) as error:
        raise unusable(error, files) from None
    return context


def unusable(error: Exception, files: TlsFiles) -> SettingInvalid:
    """The error for TLS files that cannot be used."""
    why = tls_files_problem(error)
    if why == OTHER_KEY:
        return SettingInvalid(
            f"the key of UPLOAD_GATE_TLS_KEY ({files.key}) {OTHER_KEY} of UPLOAD_GATE_TLS_CERT ({files.cert})",
            "give the key that the certificate was made for; the first certificate of the file is the gate's own",
        )
    return SettingInvalid(
        f"the files of UPLOAD_GATE_TLS_CERT, _KEY and _CLIENT_CA cannot be used: {why}", "check that they are PEM"
    )


def _stamps(files: TlsFiles) -> _Stamps:
    return tuple(_stamp(path) for path in (files.cert, files.key, files.client_ca) if path is not None)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
