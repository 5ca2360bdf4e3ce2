"""Which port a local server may take."""

import socket

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
