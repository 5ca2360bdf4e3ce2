"""JSON over HTTP to the gate and its admin port. It uses no proxy, because these are addresses of our own system."""

from __future__ import annotations

import http.client
import json
import os
import ssl
from http import HTTPStatus
from urllib.parse import urlsplit

from gate.errors import RequestRejected, StoreUnavailable, UploadGateError, redact

JSON = "application/json"
MAX_ANSWER_BYTES = 4 << 20
TIMEOUT_S = 5.0
_HOW_TO_NAME_IT = (
    "name a gate that runs with --gate or --admin, or the --state directory of the `upload-gate up` that runs it"
)
TIMED_OUT = (
    "its process may be stopped or overloaded, or the network drops what it is sent: look at the gate and its log"
)
_SEE_STATUS = (
    "repeat it in a moment; `upload-gate status` says whether Redis answers, and `check` is decided all the same"
)


def gate_token() -> str | None:
    """The token for the check port, from UPLOAD_GATE_TOKEN. Send it only to a gate that the user named."""
    return os.environ.get("UPLOAD_GATE_TOKEN") or None


def admin_token() -> str | None:
    """The token for the admin port, from UPLOAD_GATE_ADMIN_TOKEN. Send it only to a gate that the user named."""
    return os.environ.get("UPLOAD_GATE_ADMIN_TOKEN") or None


def get_json(url: str, timeout_s: float = 2.0, token: str | None = None) -> object:
    """The JSON at `url`. Raises StoreUnavailable if nothing answers, UploadGateError if the answer is unusable."""
    return _json(*_exchange("GET", url, None, timeout_s, token), redact(url))


def post_json(url: str, body: bytes, token: str | None) -> object:
    """The JSON answer to `body`. Raises RequestRejected for a 4xx status, else as `get_json` does."""
    return send("POST", url, body, token=token)


def get_text(url: str, token: str | None) -> str:
    """The text at `url`. Raises StoreUnavailable if nothing answers, UploadGateError if the answer is unusable."""
    status, data = _exchange("GET", url, None, TIMEOUT_S, token)
    if status >= 400:
        _json(status, data, redact(url))
    return data.decode(errors="replace")


def send(
    method: str,
    url: str,
    body: bytes | None = None,
    kind: str = JSON,
    timeout_s: float = TIMEOUT_S,
    token: str | None = None,
) -> object:
    """The JSON answer to a request with a body of the type `kind`. Raises as `post_json` does."""
    return _json(*_exchange(method, url, body, timeout_s, token, kind), redact(url))


def _exchange(
    method: str, url: str, body: bytes | None, timeout_s: float, token: str | None, content_type: str = JSON
) -> tuple[int, bytes]:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        headers = {"Content-Type": content_type, "Accept": JSON}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        data = answer.read(MAX_ANSWER_BYTES)
    except (OSError, http.client.HTTPException) as error:  # a certificate that is not trusted is a ValueError too
        if isinstance(error, TimeoutError):
            raise StoreUnavailable(f"{redact(url)} gave no answer within {timeout_s:g} s", TIMED_OUT) from error
        problem, remedy = _reason(error, parts.scheme == "https")
        raise StoreUnavailable(f"{redact(url)} does not answer: {problem}", remedy or _HOW_TO_NAME_IT) from error
    except ValueError:  # http.client names what it refuses, and that may be the token
        raise UploadGateError(
            "the token in the environment cannot be a header value", "set it again, without spaces"
        ) from None
    finally:
        connection.close()
    return answer.status, data


def _json(status: int, data: bytes, shown: str) -> object:
    try:
        content: object = json.loads(data)
    except ValueError as error:
        raise UploadGateError(f"{shown} answered {status} with no JSON", "is it Upload Gate's address?") from error
    if status < 400:
        return content
    problem = content if isinstance(content, dict) else {}
    detail = str(problem.get("detail") or problem.get("title") or f"status {status}")
    if status == HTTPStatus.UNAUTHORIZED:
        remedy = (
            "set UPLOAD_GATE_TOKEN for the check port, UPLOAD_GATE_ADMIN_TOKEN for the admin port; "
            "`upload-gate token new NAME` makes a token for checks, and with --admin one for the admin port"
        )
        raise RequestRejected(str(problem.get("type", "rejected")), f"refused by {shown}: {detail}. Here: {remedy}")
    if status < 500 and status != 404:
        field = problem.get("field")
        place = f"{field}: " if field else ""
        raise RequestRejected(str(problem.get("type", "rejected")), f"refused by {shown}: {place}{detail}", field)
    remedy = _SEE_STATUS if status == HTTPStatus.SERVICE_UNAVAILABLE else ""
    raise UploadGateError(f"{shown} answered {status}: {detail}", remedy)


def _reason(error: Exception, tls: bool) -> tuple[str, str]:
    """Why nothing answers, and what to do about it; no remedy where another address is the usual one."""
    if isinstance(error, ConnectionRefusedError):
        return "connection refused", ""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted here ({error.verify_message})",
            "name the file of its authorities, PEM, in SSL_CERT_FILE",
        )
    if isinstance(error, ssl.SSLError):
        told = "it does not speak TLS" if error.reason == "WRONG_VERSION_NUMBER" else f"TLS fails ({error.reason})"
        return told, "write http:// if the gate has no certificate of its own (UPLOAD_GATE_TLS_CERT)"
    if isinstance(error, http.client.HTTPException | ConnectionResetError | BrokenPipeError):
        return "what answers there closes the connection or does not speak HTTP", (
            "name Upload Gate's address. A gate with UPLOAD_GATE_TLS_CLIENT_CA refuses clients without a certificate, and "
            "commands send none"
            if tls
            else "name Upload Gate's address, with https:// if the gate has a certificate (UPLOAD_GATE_TLS_CERT)"
        )
    told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return told or type(error).__name__, ""
