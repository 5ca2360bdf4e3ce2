"""Gates that fell silent are asked themselves, against real HTTP servers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from gate.app.converge import Convergence, GateResult, GateState
from gate.cli.unheard import with_unheard
from gate.core.pause.board import Pause
from gate.core.pause.scope import Action, Scope
from gate.local.free_port import free_port
from gate.ports.boards import Acknowledgement
from gate.records.pause import fingerprint


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


CHANGE = Pause("p-1", 7, Scope(), Action.STOP, "raid", "", "ann", None, 2, set_at_us=1)
LIVE = GateResult(Acknowledgement("g-live", "http://g-live", 7, 0), GateState.OBEYS, 0.01)


def waited(*unheard: tuple[str, str]) -> Convergence:
    quiet = tuple(GateResult(Acknowledgement(name, url, 6, 0), GateState.UNHEARD) for name, url in unheard)
    return Convergence(CHANGE, (LIVE,), unheard=quiet, seconds=0.02, accepted=frozenset({fingerprint(CHANGE)}))


async def test_a_silent_gate_that_decides_by_an_old_board_does_not_obey() -> None:
    before = {"board_rev": 50, "board_digest": "d", "board_latest": ["p-0@50#12345678"]}
    after = {"board_rev": 7, "board_digest": "d", "board_latest": [fingerprint(CHANGE)]}
    with answering(before) as old, answering(after) as new:
        result, unheard = await with_unheard(waited(("g-old", old), ("g-new", new)))

    assert [(gate.said.gate, gate.obeys) for gate in result.gates] == [
        ("g-live", True),
        ("g-new", True),
        ("g-old", False),
    ]
    assert not result.complete
    assert unheard == []


async def test_a_silent_gate_that_does_not_answer_is_only_told_of() -> None:
    with answering({"hello": "world"}) as other:
        gone = f"http://127.0.0.1:{free_port()}"
        result, unheard = await with_unheard(waited(("g-gone", gone), ("g-odd", other)))

    assert result.complete
    assert [gate.gate for gate in unheard] == ["g-gone", "g-odd"]
