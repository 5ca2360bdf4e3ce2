"""Which port a local server may take."""

import random
import socket
from pathlib import Path

import pytest

from gate.local import free_port as ports
from gate.local.free_port import LOOPBACK, free_port, is_free


def test_a_preferred_port_is_given_while_it_is_free() -> None:
    port = free_port()

    assert free_port(port) == port


def test_another_port_is_given_when_the_preferred_one_is_taken() -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]

        given = free_port(port)

        assert given != port
        assert is_free(given)
        assert not is_free(port)


def test_a_free_port_is_none_that_an_outgoing_connection_may_take() -> None:
    lowest_outgoing = int(ports.EPHEMERAL.read_text(encoding="ascii").split()[0])

    assert all(ports.LOWEST <= free_port() < lowest_outgoing for _ in range(50))


def test_programs_with_one_seed_choose_different_ports() -> None:
    chosen = set()
    for _ in range(5):
        random.seed(0)
        chosen.add(free_port())

    assert len(chosen) > 1


@pytest.mark.parametrize("text", [None, "", "words\n", "1024\t65535\n"])
def test_where_no_range_is_left_below_outgoing_connections_any_port_is_given(
    text: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = tmp_path / "range"
    if text is not None:
        told.write_text(text)
    monkeypatch.setattr(ports, "EPHEMERAL", told)

    assert is_free(free_port())
