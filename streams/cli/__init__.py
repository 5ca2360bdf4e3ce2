"""The commands `replay`, `simulate` and `worker` of `upload-gate`: their options and their output.

`upload-gate` finds them through the entry points `upload_gate.commands`. Other modules do the work.
"""

from streams.cli.replay import replay
from streams.cli.simulate import simulate
from streams.cli.worker import worker

__all__ = ["replay", "simulate", "worker"]
