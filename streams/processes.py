"""The processes that `upload-gate up` starts beside the gate: the stream worker, and traffic.

`up` finds them through the entry points `upload_gate.processes`; the name of an entry is the name of its process.
"""

from __future__ import annotations

from pathlib import Path

from gate.local.parts import ProcessSpec
from gate.local.plan import Plan


def worker(plan: Plan) -> ProcessSpec:
    """The stream worker. The plan sets the address of its metrics page."""
    return ProcessSpec("streams.worker")


def traffic(plan: Plan) -> ProcessSpec | None:
    """Simulated uploads, or those of a labelled stream; None if the options turn traffic off.

    Raises OperatorError for a stream whose first row cannot be used.
    """
    options = plan.options
    if plan.kafka is None or not plan.has_traffic:
        return None
    arguments = ["--gate", plan.gate, "--kafka", plan.kafka, "--token-file", str(plan.traffic_token)]
    done = ""
    if options.replay is None:
        arguments += ["--rate", f"{options.rate:g}", "--seed", str(options.seed)]
    else:
        _require_rows(options.replay)
        arguments += ["--replay", str(options.replay), "--speed", f"{options.speed:g}"]
        done = f"the stream {options.replay.name} has been sent to its end; everything else runs on"
    return ProcessSpec("streams.traffic", tuple(arguments), starts_last=True, when_done=done)


def _require_rows(stream: Path) -> None:
    from streams.lab.rows import read_rows

    next(read_rows(stream))  # raises for a file without a usable one
