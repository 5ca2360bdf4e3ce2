"""Every error Upload Gate raises on purpose, by whose fault it is.

    UploadGateError
    ├── RequestRejected      the caller's: a malformed check (HTTP 4xx)
    ├── OperatorError        the operator's: exit code 2
    │   ├── PolicyInvalid    a policy or scorecard file: names file, line and key
    │   └── SettingInvalid   a flag or an environment variable
    ├── ControlRefused       the policy or the switch refuses a change: exit code 3
    ├── NotConverged         a change landed but not every gate obeys it: exit code 3
    ├── LocalServerError     a server that `up` brings along cannot be had (gate.local): exit code 1
    ├── StoreUnavailable     a server does not answer: exit code 1
    ├── StoreOverloaded      the server answers, but more waits for it than it can answer in time: exit code 1
    └── StateUnreadable      bytes in a store or topic that nobody of us wrote: last good is kept

Each message says what happened and what to do. Secrets never enter one: URLs go through `redact`.
"""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit


class UploadGateError(Exception):
    """The root. `exit_code` is what a command ends with, `remedy` what to do about it."""

    exit_code = 1

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(f"{problem}. {remedy}" if remedy else problem)
        self.problem = problem
        self.remedy = remedy


class RequestRejected(UploadGateError):
    """A request that cannot be understood; `field` names the place, `reason` is a code from a closed list."""

    exit_code = 2

    def __init__(self, reason: str, detail: str, field: str | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.field = field


class OperatorError(UploadGateError):
    """Something the operator wrote or typed is wrong."""

    exit_code = 2


class PolicyInvalid(OperatorError):
    """A config file is refused; the last good one stays in force. `line` is 1-based, None where unknown."""

    def __init__(self, file: str, line: int | None, key: str, problem: str) -> None:
        place = file if line is None else f"{file}:{line}"
        super().__init__(f"{place}: {key}: {problem}" if key else f"{place}: {problem}")
        self.file = file
        self.line = line
        self.key = key


class SettingInvalid(OperatorError):
    """A flag or an environment variable has an unusable value."""


class ControlRefused(UploadGateError):
    """A change to the kill switch that the policy does not permit."""

    exit_code = 3


class NotConverged(UploadGateError):
    """A change was written, but not every live gate has acknowledged it in time."""

    exit_code = 3


class StoreUnavailable(UploadGateError):
    """A server does not answer within its deadline."""


class StoreOverloaded(UploadGateError):
    """More calls wait for a server than it can answer within their deadlines. The server is well; the call was not sent."""


class StateUnreadable(UploadGateError):
    """Stored bytes that do not parse; rejected whole, the last good state is kept."""


class LocalServerError(UploadGateError):
    """A server that `up` brings along cannot be had or does not run. The message says what, why, and what to do."""


def redact(url: str) -> str:
    """`url` with any password replaced, fit for a log line."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port is not None else ""
    return urlunsplit((parts.scheme, f"{parts.username or ''}:***@{host}{port}", parts.path, parts.query, ""))
