"""Why a connection to Redis is not opened, in words in place of the library's text."""

from __future__ import annotations

import socket
import ssl
from typing import Final

from redis.exceptions import AuthenticationError, InvalidResponse

NOT_REDIS: Final = "what answers there does not speak Redis"
LOGIN: Final = "it refuses the login; check user and password in the URL"
CLOSED: Final = (
    "it closes the connection at once; check that a Redis listens there, with TLS or without as the URL says"
)


def redis_trouble(error: BaseException) -> str:
    """Why a connection cannot be opened; the server's own text where this file has no words for it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConnectionRefusedError):
            return "connection refused"
        if isinstance(cause, socket.gaierror):
            return "its host name cannot be resolved"
        if isinstance(cause, ssl.SSLCertVerificationError):
            return "its certificate is not one that this side trusts"
        if isinstance(cause, ssl.SSLError):
            return "it does not speak TLS as the URL says"
        if isinstance(cause, InvalidResponse):
            return NOT_REDIS
        cause = cause.__cause__ or cause.__context__
    said = str(error)
    if isinstance(error, AuthenticationError) or said.startswith(("AUTH ", "WRONGPASS", "NOAUTH")):
        return LOGIN
    return CLOSED if said.startswith("Connection closed by server") else said
