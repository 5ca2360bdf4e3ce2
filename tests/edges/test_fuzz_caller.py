"""The caller of a fuzz run tells a machine that is busy from a gate that does not answer."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

from gate.serve.openapi import OPERATIONS
from tests.edges.fuzz_caller import Caller

HEALTH = next(operation for operation in OPERATIONS if operation.path == "/healthz")


@contextmanager
def server_that_is_mute(times: int) -> Iterator[int]:
    """The port of a server that leaves the first `times` requests without an answer."""
    over = threading.Event()
    left = iter(range(times))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if next(left, None) is not None:
                over.wait()
                return
            self.send_response(200)
            self.send_header("content-type", "text/plain")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            over.set()
            server.shutdown()
            thread.join()


def test_a_request_that_is_answered_only_when_it_is_repeated_counts_as_late_and_is_no_problem() -> None:
    with server_that_is_mute(1) as port, closing(Caller({HEALTH.port: port}, patience_s=2.0)) as caller:
        caller.send(HEALTH, HEALTH.path, None, {})

        assert caller.late == 1
        assert caller.problems == []
        assert caller.cases == 1


def test_a_request_that_is_never_answered_is_a_problem() -> None:
    with server_that_is_mute(2) as port, closing(Caller({HEALTH.port: port}, patience_s=0.1)) as caller:
        caller.send(HEALTH, HEALTH.path, None, {})

        assert caller.late == 2
        assert [problem.endswith("no answer") for problem in caller.problems] == [True]
        assert caller.cases == 0
