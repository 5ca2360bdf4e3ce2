"""Gates that fell silent are asked themselves, against real HTTP servers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from gate.app.operate import Convergence, Obedience
from gate.cli.unheard import with_unheard
from gate.local.free_port import free_port
from gate.ports.boards import Acknowledgement


@contextmanager
def answering(body: object) -> Iterator[str]:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


LIVE = Obedience("g-live", "http://g-live", 7, 0.01)


async def test_a_silent_gate_that_decides_by_an_old_board_does_not_obey() -> None:
    with answering({"board_rev": 6}) as old, answering({"board_rev": 7}) as new:
        seen = [
            Acknowledgement("g-live", "http://g-live", 7, 0),
            Acknowledgement("g-old", old, 6, 0),
            Acknowledgement("g-new", new, 6, 0),
        ]

        result, unheard = await with_unheard(Convergence(7, (LIVE,), 0.02), seen)

    assert [(gate.gate, gate.rev, gate.obeys) for gate in result.gates] == [
        ("g-live", 7, True),
        ("g-new", 7, True),
        ("g-old", 6, False),
    ]
    assert not result.complete
    assert unheard == []


async def test_a_silent_gate_that_does_not_answer_is_only_told_of() -> None:
    with answering({"hello": "world"}) as other:
        seen = [
            Acknowledgement("g-gone", f"http://127.0.0.1:{free_port()}", 6, 0),
            Acknowledgement("g-odd", other, 6, 0),
        ]

        result, unheard = await with_unheard(Convergence(7, (LIVE,), 0.02), seen)

    assert result.complete
    assert [gate.gate for gate in unheard] == ["g-gone", "g-odd"]
