"""Commands that need Kafka: they learn within seconds that no broker answers, and say what they wait for."""

from __future__ import annotations

import socket

import pytest

from gate.cli.with_kafka import with_kafka
from gate.errors import StoreUnavailable


def test_a_kafka_that_accepts_and_never_answers_is_waited_for_aloud_and_given_up(
    capsys: pytest.CaptureFixture[str],
) -> None:
    begun: list[str] = []

    async def work() -> None:
        begun.append("work")

    with socket.create_server(("127.0.0.1", 0)) as frozen:
        address = f"127.0.0.1:{frozen.getsockname()[1]}"
        with pytest.raises(StoreUnavailable) as error:
            with_kafka(address, work)

    assert not begun
    assert f"waiting for Kafka at {address} to answer" in capsys.readouterr().err
    assert "gave no answer within 3.5 s" in error.value.problem
    assert "stopped or overloaded" in error.value.remedy
