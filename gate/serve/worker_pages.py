"""The pages of `serve --workers`: which processes serve, for Prometheus (HTTP service discovery), health and people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import msgspec

from gate.metrics import CONTENT_TYPE, ProcessCounts, exposition, process_registry
from gate.serve.asgi import Receive, Scope, Send, answer
from gate.serve.hot.exchange import JSON, TEXT
from gate.serve.problems import CONTENT_TYPE as PROBLEM
from gate.serve.problems import problem, status_of

TARGETS_PATH: Final = "/prometheus/targets"
GATE: Final = "gate"
SUPERVISOR: Final = "supervisor"
"""Values of the label `part`, by which the shipped alerts tell what a target is."""
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class WorkerState:
    """One worker process. `pid` is None while it does not run; `restarts` counts how often it had to be started again."""

    worker: int
    pid: int | None
    answers: bool
    restarts: int
    metrics: str
    admin: str


class WorkerPages:
    """An ASGI app over the states of all workers. `metrics` is the base URL at which others reach these pages."""

    def __init__(self, states: Callable[[], Sequence[WorkerState]], metrics: str) -> None:
        self._states = states
        self._metrics = metrics
        self._registry = process_registry(self._counts)
        self._pages: Mapping[str, Callable[[], tuple[int, bytes, bytes]]] = {
            TARGETS_PATH: self._targets,
            "/metrics": lambda: (200, exposition(self._registry), CONTENT_TYPE.encode()),
            "/healthz": lambda: (200, b"alive\n", TEXT),
            "/readyz": self._ready,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        page = self._pages.get(scope["path"])
        if page is None:
            body = problem("path.unknown", f"there is no such path; known are {', '.join(self._pages)}")
            await answer(send, status_of("path.unknown"), body, PROBLEM)
        elif scope["method"] not in ("GET", "HEAD"):
            body = problem("method.not_allowed", f"{scope['path']} takes GET, HEAD")
            await answer(send, status_of("method.not_allowed"), body, PROBLEM, ((b"allow", b"GET, HEAD"),))
        else:
            await answer(send, *page())

    def _targets(self) -> tuple[int, bytes, bytes]:
        """The supervisor and every worker, also one that does not run: a target that is gone raises no alert, one that
        is down does.
        """
        gates = [_target(state.metrics, part=GATE, worker=str(state.worker)) for state in self._states()]
        return 200, _encode([_target(self._metrics, part=SUPERVISOR), *gates]), JSON

    def _ready(self) -> tuple[int, bytes, bytes]:
        states = self._states()
        answering = sum(state.answers for state in states)
        body = _encode({"ready": answering > 0, "degraded": answering < len(states), "workers": states})
        return 200 if answering else 503, body, JSON

    def _counts(self) -> ProcessCounts:
        states = self._states()
        return ProcessCounts(
            len(states), sum(state.answers for state in states), sum(state.restarts for state in states)
        )


def _target(metrics: str, **labels: str) -> dict[str, object]:
    """A target group of one target, as Prometheus reads it."""
    return {"targets": [urlsplit(metrics).netloc], "labels": labels}
