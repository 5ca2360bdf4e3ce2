"""The side of a fuzz run that sends requests, checks each answer against the OpenAPI document, and counts them."""

from __future__ import annotations

import http.client
import json
from collections import Counter

import jsonschema

from gate.serve.openapi import Operation, Port, openapi

DOCUMENT = json.loads(openapi())
PATIENCE_S = 60.0
"""Longer than the gate gives a request to arrive (10 s), even on a machine that has much else to do."""


class Caller:
    """Sends requests over connections that are kept, checks each answer, and counts the answers by their status.

    `late` counts the requests that had no answer within `patience_s`. One such request may mean that the machine is
    busy, so it is sent once more, on a new connection, and is a problem if it has no answer then either.
    """

    def __init__(self, ports: dict[Port, int], patience_s: float = PATIENCE_S) -> None:
        self.statuses: Counter[tuple[str, str, int]] = Counter()
        self.problems: list[str] = []
        self.late = 0
        self._connections = {
            port: http.client.HTTPConnection("127.0.0.1", number, timeout=patience_s) for port, number in ports.items()
        }
        self._validators: dict[int, jsonschema.Draft202012Validator] = {}

    def close(self) -> None:
        """Close the connections."""
        for connection in self._connections.values():
            connection.close()

    @property
    def cases(self) -> int:
        """How many answers were checked."""
        return sum(self.statuses.values())

    def send(self, operation: Operation, target: str, body: bytes | None, headers: dict[str, str]) -> None:
        """Send one request and note what is wrong with its answer."""
        answer = self._answer(operation, target, body, headers)
        if answer is None:
            return
        status, kind, data = answer
        self.statuses[operation.method, operation.path, status] += 1
        wrong = self._wrong(operation, status, kind, data)
        if wrong:
            self.problems.append(f"{operation.method} {target} {headers} {body!r}: {status} {wrong}: {data[:300]!r}")

    def _answer(
        self, operation: Operation, target: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, str, bytes] | None:
        """Status, content type and body; None where http.client does not send such a request, or nothing answers it."""
        connection = self._connections[operation.port]
        for is_last in (False, True):
            may_be_closed = connection.sock is not None  # the gate ends a kept connection when it likes
            try:
                connection.request(operation.method.upper(), target, body, headers)
                answer = connection.getresponse()
                return answer.status, answer.headers.get("content-type", ""), answer.read()
            except ValueError:
                connection.close()
                return None
            except (ConnectionError, TimeoutError, http.client.HTTPException) as error:
                connection.close()
                is_late = isinstance(error, TimeoutError)
                self.late += is_late
                if is_last or not (may_be_closed or is_late):
                    self.problems.append(f"{operation.method} {target} {headers} {body!r}: no answer")
                    return None
        return None

    def _wrong(self, operation: Operation, status: int, kind: str, data: bytes) -> str | None:
        documented = DOCUMENT["paths"][operation.path][operation.method]["responses"].get(str(status))
        if status >= 500:
            return "is a fault"
        if documented is None:
            return "is not documented"
        if "content" not in documented:
            return None if not data else "has a body"
        (wanted, content), *_ = documented["content"].items()
        if kind.partition(";")[0] != wanted:
            return f"has the type {kind}, not {wanted}"
        if not wanted.endswith("json"):
            return None
        schema = {**content["schema"], "components": DOCUMENT["components"]}
        validator = self._validators.setdefault(id(content), jsonschema.Draft202012Validator(schema))
        error = next(validator.iter_errors(json.loads(data)), None)
        return None if error is None else f"breaks its schema at {error.json_path}: {error.message[:200]}"
