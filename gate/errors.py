"""Every error that Upload Gate raises on purpose, by whose fault it is, with what to do.

    UploadGateError
    ├── RequestRejected       the caller's fault: correct the request; unchanged, it is rejected again
    ├── OperatorError         the operator's fault: correct what the message names
    │   ├── PolicyInvalid     … in a policy or scorecard file; the last good one stays in force
    │   ├── FileInvalid       … in lines of a file that a command reads, one line of the message each
    │   ├── SettingInvalid    … in a flag or an environment variable
    │   └── TopicUnfit        … in the settings of a Kafka topic
    ├── NotPermitted          the operator's role: another person, or a person in place of a machine, may do it
    ├── ControlRefused        nobody's fault: the policy does not permit this change of the kill switch
    ├── AwaitsApproval        nobody's fault: the change is proposed, and a second person has to approve it
    ├── NotConverged          a change was written, but not every gate obeys it yet: check the gates that are named
    ├── StoreUnavailable      a server's fault: it does not answer in time; try again, and look at the server
    │   └── AccessRefused     … its access lists do not permit this user the call: ask for the right, or let another do it
    ├── StoreOverloaded       the load's fault: the server works, but the call was not sent; try again later
    ├── StateUnreadable       the writer's fault: stored bytes do not parse; the last good state is kept
    ├── ForeignCluster        the address's fault: another Kafka cluster answers there; find out which one is meant
    └── LocalServerError      this machine's fault: a server that `up` needs cannot be fetched or does not run

Each message says what happened and what to do. Each edge maps errors to its own codes: the command line uses
`exit_code`, the HTTP edge has a table from `reason` to statuses. No message holds a secret: URLs go through `redact`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit


class UploadGateError(Exception):
    """The root. `remedy` says what to do about the problem; a command that raises it ends with `exit_code`."""

    exit_code = 1

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(f"{problem.rstrip('.')}. {_sentence(remedy)}" if remedy else problem)
        self.problem = problem
        self.remedy = remedy


class RequestRejected(UploadGateError):
    """A request that cannot be read. `field` names the place, `reason` is a code from a closed list."""

    exit_code = 2

    def __init__(self, reason: str, detail: str, field: str | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.field = field


class OperatorError(UploadGateError):
    """A file, flag or argument of the operator is wrong."""

    exit_code = 2


class PolicyInvalid(OperatorError):
    """A config file is refused; the last good one stays in force. `line` is 1-based, None where unknown."""

    def __init__(self, file: str, line: int | None, key: str, problem: str) -> None:
        place = file if line is None else f"{file}:{line}"
        super().__init__(f"{place}: {key}: {problem}" if key else f"{place}: {problem}")
        self.file = file
        self.line = line
        self.key = key


class FileInvalid(OperatorError):
    """Lines of a file are wrong; the message has a line for each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))


class SettingInvalid(OperatorError):
    """A flag or an environment variable has an unusable value."""


class TopicUnfit(OperatorError):
    """A Kafka topic cannot hold what is written to it; the message names the command that changes it."""


class ControlRefused(UploadGateError):
    """A change to the kill switch that the policy does not permit."""

    exit_code = 3


class AwaitsApproval(UploadGateError):
    """A change was proposed, as it was meant to be, and is not in force before a second person approves it."""

    exit_code = 3


class NotPermitted(UploadGateError):
    """A change to the kill switch that this person or machine may not make, and another person may."""

    exit_code = 4


class NotConverged(UploadGateError):
    """A change was written, but not every live gate has acknowledged it in time."""

    exit_code = 3


class StoreUnavailable(UploadGateError):
    """A server does not answer within its deadline. `may_have_run` tells whether it may have carried out the call, and
    `was_reached` is False if it has not answered at all, so that nothing was written."""

    may_have_run = False
    was_reached = True


class AccessRefused(StoreUnavailable):
    """A server answers, and its access lists do not permit this user the call."""


class StoreOverloaded(UploadGateError):
    """More calls wait for a server than it can answer in time. The server works; this call was not sent."""


class StateUnreadable(UploadGateError):
    """Stored bytes do not parse. They are rejected whole, and the last good state is kept."""


class ForeignCluster(UploadGateError):
    """Another Kafka cluster answers at the address of the one that this process worked with."""


class LocalServerError(UploadGateError):
    """A server that `up` needs cannot be fetched or does not run."""


def file_problem(error: OSError | UnicodeDecodeError) -> str:
    """Why a file cannot be read or written, in words for people, without the number of the error."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    return error.strerror or str(error)


OTHER_KEY: Final = "does not belong to the certificate"
_TLS_REASONS: Final = {
    "KEY_VALUES_MISMATCH": OTHER_KEY,
    "PEM_LIB": "one of them is no PEM, or its key has a password",
    "NO_CERTIFICATE_OR_CRL_FOUND": "one of them holds no certificate",
}


def tls_files_problem(error: Exception) -> str:
    """Why certificates, keys or authorities cannot be used, in words for people; OTHER_KEY for a key of another certificate."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    reason = getattr(error, "reason", None)
    return str(error) if reason is None else _TLS_REASONS.get(reason, reason.replace("_", " ").lower())


def _sentence(remedy: str) -> str:
    """The remedy as a sentence. A path or a command at its beginning stays as it is typed."""
    first = remedy.partition(" ")[0]
    return remedy if any(mark in first for mark in "/-_=") else f"{remedy[0].upper()}{remedy[1:]}"


_SECRET = re.compile("pass|pwd|secret|token|key|credential|auth|signature", re.IGNORECASE)
"""Words that mark a secret: a query parameter is hidden if its name contains one of them."""


def redact(url: str) -> str:
    """`url` with `***` for a password before the host and for each secret of its query, fit for a log line."""
    scheme, mark, rest = url.partition("://")
    if mark and "_" in scheme:  # Kafka's protocols, which `urlsplit` takes for paths
        shown = redact(f"kafka://{rest}")
        return scheme + shown.removeprefix("kafka") if shown != "***" else shown
    try:
        parts = urlsplit(url)
    except ValueError:  # not a URL, so the place of a secret in it is unknown
        return "***"
    before, at, host = parts.netloc.rpartition("@")
    user, colon, _ = before.partition(":")
    query = "&".join(map(_redacted, parts.query.split("&")))
    if not colon and query == parts.query:
        return url
    shown = f"{user}:***@{host}" if colon else f"{before}{at}{host}"
    return urlunsplit((parts.scheme, shown, parts.path, query, ""))


def _redacted(pair: str) -> str:
    name, equals, _ = pair.partition("=")
    return f"{name}=***" if equals and _SECRET.search(unquote(name)) else pair
