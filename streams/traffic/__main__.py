"""Sends uploads to a running system: asks the gate about each, then reports the decision to Kafka.

It plays the upload service of `upload-gate up`, with simulated accounts (`simulate`) or those of a labelled stream
(`rows`). It logs once that the gate or Kafka is unreachable, and goes on: without a gate uploads proceed without a
decision, without Kafka their events are lost.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gate.errors import OperatorError
from gate.settings import DEFAULT_GATE, DEFAULT_KAFKA, topic_prefix
from streams.traffic.run import TrafficOptions, run

SIGNALLED = 128
"""A recording that a signal cut short ends the process with the signal's number above this, as shells count."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the process that `upload-gate up` starts. Returns its exit code, for a recording 0 only at its end."""
    environ = os.environ
    parser = argparse.ArgumentParser(prog="python -m streams.traffic", description=__doc__)
    parser.add_argument("--gate", default=environ.get("UPLOAD_GATE_GATE", DEFAULT_GATE), help="base URL of the gate")
    parser.add_argument("--kafka", default=environ.get("UPLOAD_GATE_KAFKA", DEFAULT_KAFKA), help="bootstrap servers")
    parser.add_argument("--token-file", type=Path, help="file with the gate's token, unless UPLOAD_GATE_TOKEN has it")
    parser.add_argument("--rate", type=float, default=20.0, help="simulated uploads per second (default 20)")
    parser.add_argument("--seed", type=int, default=7, help="seed of the simulation (default 7)")
    parser.add_argument("--replay", type=Path, help="labelled stream to send instead of simulated uploads")
    parser.add_argument(
        "--speed", type=float, default=1.0, help="with --replay: times faster than recorded (default 1)"
    )
    given = parser.parse_args(arguments)
    # while a broker is down the client logs dozens of lines a second, and asyncio the tasks that it leaves; we log once
    # that it is away
    for noisy in ("aiokafka", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    options = TrafficOptions(
        given.gate,
        given.kafka,
        given.rate,
        given.seed,
        given.replay,
        given.speed,
        token_file=given.token_file,
    )
    try:
        options = replace(options, topic_prefix=topic_prefix(environ))
        sent = asyncio.run(run(options, lambda line: print(line, file=sys.stderr, flush=True)))
    except OperatorError as error:
        print(error, file=sys.stderr, flush=True)
        return error.exit_code
    finally:
        # the interpreter takes a moment to exit, and another signal in it must not look like a crash
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, signal.SIG_IGN)
    return SIGNALLED + sent.signal if sent.signal else 0


if __name__ == "__main__":
    sys.exit(main())
