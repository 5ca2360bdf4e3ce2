"""How soon a pause is in force while a way to it fails, and how soon a gate that can reach nobody honours its snapshot.

Three gates share a Redis; two of them reach it through a proxy. The connections of one stall while new ones pass (a
half-open link), and it has no Kafka. Nothing at all passes to the other, so that Kafka alone is left, to which the third
gate copies the pause. The time counts from the write of the pause to Redis until the gate that is cut off decides
`paused`. A figure is the worst of a round.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from gate.app.operate import Operate
from gate.core.duration import HOUR_US, MINUTE_US
from gate.core.pause.board import Board
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Action, Scope
from gate.local.free_port import LOOPBACK, free_port
from gate.local.process import Child
from gate.records.topics import Topics
from gate.stores.disk.snapshot import BoardSnapshot
from gate.stores.kafka.topics import declare
from gate.stores.redis.boards import RedisBoardStore
from tests.bench.gates import Gate, decide_at, gate, gate_environment
from tests.bench.report import BenchError, Spec
from tests.bench.stage import Stage
from tests.proxies import FaultProxy

FAULTS_A_ROUND: Final = 4
WITHIN_S: Final = 20.0
POLL_S: Final = 0.01
CANARY: Final = Scope(frozenset({"canary"}))

_FAULT = Spec("pause written to in force, one path dead or half-open: worst", "s", 3.5, 3)
_START = Spec("gate started from its snapshot, Redis and Kafka down, to its first `paused`", "s", 1, 0.2)
SPECS = (_FAULT, _START)


def measure(stage: Stage, rounds: int) -> dict[Spec, list[float]]:
    """The worst of each round. Raises BenchError."""
    found: dict[Spec, list[float]] = {_FAULT: [], _START: []}
    with ExitStack() as stack:
        environment = gate_environment(stage, stage.fresh("faults"), kafka=True)
        asyncio.run(declare(environment["UPLOAD_GATE_KAFKA"], Topics(environment["UPLOAD_GATE_TOPIC_PREFIX"])))
        stack.enter_context(gate(stage, environment))
        found[_FAULT] = asyncio.run(_faults(stage, stack, environment, rounds))
    for turn in range(rounds):
        stage.say(f"start from a snapshot: {turn + 1} of {rounds}")
        found[_START].append(_start_s(stage, environment))
    return found


async def _faults(stage: Stage, stack: ExitStack, environment: dict[str, str], rounds: int) -> list[float]:
    url = environment["UPLOAD_GATE_REDIS"]
    server_port = int(url.rsplit(":", 1)[1].split("/")[0])
    store = RedisBoardStore(url, prefix=environment["UPLOAD_GATE_PREFIX"], deadline_s=5.0)
    async with FaultProxy(port := free_port(), server_port) as proxy:
        behind = {**environment, "UPLOAD_GATE_REDIS": f"redis://{LOOPBACK}:{port}/0"}
        without_kafka = {name: value for name, value in behind.items() if name != "UPLOAD_GATE_KAFKA"}
        with_kafka = await asyncio.to_thread(stack.enter_context, gate(stage, behind))
        alone = await asyncio.to_thread(stack.enter_context, gate(stage, without_kafka))
        try:
            worst = []
            for turn in range(rounds):
                took = []
                for number in range(FAULTS_A_ROUND):
                    stage.say(f"pauses with a failing path: {turn * FAULTS_A_ROUND + number + 1}")
                    fault, cut_off = (proxy.stall, alone) if number % 2 == 0 else (proxy.hold, with_kafka)
                    took.append(await _fault_s(store, proxy, cut_off, fault, f"p-{turn}-{number}"))
                worst.append(max(took))
            return worst
        finally:
            proxy.release()
            await store.close()
            await asyncio.to_thread(stack.close)


async def _fault_s(
    store: RedisBoardStore, proxy: FaultProxy, cut_off: Gate, fault: Callable[[], None], id_: str
) -> float:
    operate = Operate(store, lambda: id_)
    await _until(cut_off, paused=False)
    await asyncio.sleep(1.5 + int(id_[-1]) * 0.27)  # the fault meets the gate's second at another place each time
    fault()
    began_s = time.perf_counter()
    await operate.pause(CANARY, Action.STOP, "drill", "", "bench", HOUR_US)
    await _until(cut_off, paused=True)
    took_s = time.perf_counter() - began_s
    proxy.release()
    proxy.drop()
    await operate.release(id_, "bench", ramp_us=0)
    return took_s


async def _until(cut_off: Gate, paused: bool) -> None:
    until_s = time.perf_counter() + WITHIN_S
    while (await asyncio.to_thread(cut_off.decide, "canary") == "paused") is not paused:
        if time.perf_counter() > until_s:
            raise BenchError(f"the gate does not {'pause' if paused else 'let in again'} within {WITHIN_S:.0f} s")
        await asyncio.sleep(POLL_S)


def _start_s(stage: Stage, environment: dict[str, str]) -> float:
    """From the start of the process until it decides `paused` by its snapshot."""
    now_us = time.time_ns() // 1_000
    pause = Pause("p-1", 1, CANARY, Action.STOP, "drill", "", "bench", None, now_us + 10 * MINUTE_US, set_at_us=now_us)
    port, nobody = free_port(), free_port()
    with tempfile.TemporaryDirectory(dir=stage.home) as home:
        BoardSnapshot(Path(home) / "board.json").write(Board({pause.id: pause}))
        given = {
            **environment, "UPLOAD_GATE_STATE": home, "UPLOAD_GATE_REDIS": f"redis://{LOOPBACK}:{nobody}/0",
            "UPLOAD_GATE_KAFKA": f"{LOOPBACK}:{nobody}", "UPLOAD_GATE_PORT": str(port),
            "UPLOAD_GATE_ADMIN_PORT": str(free_port()),
        }  # fmt: skip
        began_s = time.perf_counter()
        with stage.process("gate", ["-m", "gate.cli.main", "serve"], given) as child:
            return _first_paused_s(child, port) - began_s


def _first_paused_s(child: Child, port: int) -> float:
    until_s = time.perf_counter() + WITHIN_S
    while time.perf_counter() < until_s:
        try:
            decision = decide_at(port, "canary")
        except OSError:
            time.sleep(POLL_S)
            continue
        if decision != "paused":
            raise BenchError(f"a gate that started from its snapshot decided {decision}")
        return time.perf_counter()
    raise BenchError(f"the gate did not answer:\n{child.tail()}")
