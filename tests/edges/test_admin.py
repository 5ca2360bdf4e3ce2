"""The admin port over real HTTP: its pages, and what it refuses, as problems."""

from pathlib import Path

import pytest

from tests.edges.running_gate import ask, running_gate


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200), ("localhost:8391", 200), ("[::1]:8391", 200), ("LOCALHOST", 200),
        ("evil.example", 403), ("127.0.0.1.evil.example", 403), ("", 403), ("127.0.0.1@evil.example", 403),
        ("[", 400), ("[::1", 400), ("[v1.x", 400),
    ],
)  # fmt: skip
async def test_only_loopback_names_are_answered_and_nonsense_is_the_callers_fault(
    tmp_path: Path, host: str, status: int
) -> None:
    async with running_gate(tmp_path) as gate:
        reply = await ask(gate.admin_port, "GET", "/v1/board", b"", {"host": host})

    assert reply.status == status
    if status != 200:
        assert reply.json["reason"] == "host.refused"
        assert reply.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path", "status", "reason"),
    [
        ("GET", "/v1/nothing", 404, "path.unknown"),
        ("GET", "/v1/board/", 404, "path.unknown"),
        ("POST", "/v1/board", 405, "method.not_allowed"),
        ("DELETE", "/healthz", 405, "method.not_allowed"),
    ],
)
async def test_what_is_refused_is_a_problem(tmp_path: Path, method: str, path: str, status: int, reason: str) -> None:
    async with running_gate(tmp_path) as gate:
        reply = await ask(gate.admin_port, method, path, b"", {})

    assert (reply.status, reply.json["reason"]) == (status, reason)
    assert reply.json["type"] == f"urn:upload-gate:problem:{reason}"
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers["cache-control"] == "no-store"


async def test_head_gives_the_headers_of_get_without_the_body(tmp_path: Path) -> None:
    async with running_gate(tmp_path) as gate:
        full = await gate.get("/healthz", admin=True)
        head = await gate.get("/healthz", admin=True, method="HEAD")

    assert (full.status, full.body) == (200, b"alive\n")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == full.headers["content-length"]


async def test_a_page_that_cannot_be_made_is_a_problem_with_status_500(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: object) -> bytes:
        raise KeyError("gone")

    monkeypatch.setattr("gate.serve.health.Health.policy", broken)
    async with running_gate(tmp_path) as gate:
        reply = await gate.get("/v1/policy", admin=True)

    assert (reply.status, reply.json["reason"]) == (500, "fault.internal")


async def test_a_check_that_goes_to_the_admin_port_is_told_which_port_takes_it(tmp_path: Path) -> None:
    async with running_gate(tmp_path) as gate:
        check = await ask(gate.admin_port, "POST", "/v1/check", b"{}", {})
        other = await ask(gate.admin_port, "GET", "/v1/chek", b"", {})

    assert (check.status, other.status) == (404, 404)
    assert check.json["detail"].startswith(
        "there is no such path; this is the admin port, and checks go to the port for"
    )
    assert other.json["detail"].startswith("there is no such path; known are /v1/board")
