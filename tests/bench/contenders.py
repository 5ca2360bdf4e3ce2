"""What the worker costs without signals, beside other programs that do the same: one counter an account, with a changelog.

The contenders are a bare loop over the Kafka client, an ordinary quixstreams application, and Kafka Streams with
exactly-once processing on one thread. Each is alone on a topic of its own with the same events, and is up and warm
before the clock starts; CPU is counted until its group has committed all events. Rounds alternate.

quixstreams and Kafka Streams are no dependencies of the project. The first is installed into an environment of the
stage, the second is fetched from Maven and compiled where a JDK is there; where that fails, their rows say so.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient

from gate.errors import UploadGateError
from gate.local.free_port import LOOPBACK, free_port
from gate.local.jars import Jar, default_cache, fetch_jars
from gate.local.process import Child
from gate.records.topics import PARTITIONS, Topic, Topics
from tests.bench import proc
from tests.bench.report import Absent, Spec
from tests.bench.stage import ROOT, Stage, await_
from tests.bench.streams import feed, is_through, pid_of, sender, worker_environment

EVENTS = 200_000
WARM_UP = 20_000
JVM_WARM_UP = 200_000
"""Events until most of the code is compiled, which would be counted as theirs otherwise."""
ACCOUNTS = 10_000
QUIXSTREAMS = "quixstreams==3.28.0"
INSTALL_WITHIN_S = 300.0
COMPILE_WITHIN_S = 120.0
JAVA = Path(__file__).with_name("java")

_OURS = Spec("our worker without signals, CPU per event", "µs")
_BARE = Spec("bare aiokafka loop, CPU per event", "µs")
_QUIX = Spec("quixstreams, CPU per event", "µs")
_STREAMS = Spec("Kafka Streams, exactly once, CPU per event", "µs")
_PER_BARE = Spec("bare aiokafka loop / our worker without signals, CPU per event", "×", 0.6, 0.8, True)
_PER_QUIX = Spec("quixstreams / our worker without signals, CPU per event", "×", 1.5, 2, True)
_PER_STREAMS = Spec("Kafka Streams, exactly once / our worker without signals, CPU per event", "×", 0.5, 1, True)
SPECS = (_PER_BARE, _PER_QUIX, _PER_STREAMS, _OURS, _BARE, _QUIX, _STREAMS)

Contender = Callable[[Stage, str], AbstractContextManager[Child]]
"""Starts on the events topic of that name, as the consumer group of that name."""


def measure(stage: Stage, rounds: int) -> dict[Spec, list[float]]:
    """Alternate all contenders. Raises BenchError; a contender that cannot be had is noted as absent."""
    found: dict[Spec, list[float]] = {spec: [] for spec in SPECS}
    contenders: list[tuple[Spec, Spec, Contender]] = [(_BARE, _PER_BARE, _bare)]
    for spec, ratio, prepare in ((_QUIX, _PER_QUIX, _with_quixstreams), (_STREAMS, _PER_STREAMS, _with_kafka_streams)):
        try:
            contenders.append((spec, ratio, prepare(stage)))
        except Absent as error:
            stage.say(f"contenders: {error}")
            stage.absent.update({spec: str(error), ratio: str(error)})
    for turn in range(rounds):
        stage.say(f"contenders: round {turn + 1} of {rounds}")
        ours = _worker(stage, turn)
        found[_OURS].append(ours)
        for spec, ratio, contender in contenders:
            theirs = _cost(stage, contender, turn, JVM_WARM_UP if spec is _STREAMS else WARM_UP)
            found[spec].append(theirs)
            found[ratio].append(theirs / ours)
    return found


def _worker(stage: Stage, seed: int) -> float:
    name = stage.fresh("plain")
    topics = Topics(f"{name}.")
    stage.declare(topics.all())
    port = free_port()
    url = f"http://{LOOPBACK}:{port}/metrics"
    environment = worker_environment(stage, name, port)
    with stage.process("plain-worker", ["-m", "tests.bench.plain_worker"], environment) as child:
        return _used(stage, child, topics.events.name, seed, lambda count: is_through(url, count))


def _cost(stage: Stage, contender: Contender, seed: int, warm_up: int) -> float:
    name = stage.fresh("contender")
    stage.declare([Topic(name, PARTITIONS, False, -1), Topic(f"{name}.changelog", PARTITIONS, True, -1)])
    with contender(stage, name) as child:
        return _used(stage, child, name, seed, lambda count: _committed(stage, name) >= count, warm_up)


def _used(
    stage: Stage, child: Child, topic: str, seed: int, is_done: Callable[[int], bool], warm_up: int = WARM_UP
) -> float:
    """CPU µs an event from when all is warm until all is committed."""
    feed(stage, topic, warm_up, ACCOUNTS, seed, 0)
    await_(child, lambda: is_done(warm_up), "the end of its warm-up", every_s=0.25)
    pid = pid_of(child)
    with sender(stage, topic, EVENTS, ACCOUNTS, seed, warm_up) as sending:
        before = proc.cpu_s(pid)
        sending.go()
        await_(child, lambda: is_done(warm_up + EVENTS), f"{EVENTS} events", every_s=0.25)
        return (proc.cpu_s(pid) - before) / EVENTS * 1e6


def _committed(stage: Stage, group: str) -> int:
    """How many events the group has committed."""

    async def offsets() -> int:
        admin = AIOKafkaAdminClient(bootstrap_servers=stage.kafka().bootstrap)
        await admin.start()
        try:
            found = await admin.list_consumer_group_offsets(group)
        finally:
            await admin.close()
        return sum(max(0, one.offset) for at, one in found.items() if at.topic == group)

    return asyncio.run(offsets())


def _environment(stage: Stage, name: str) -> dict[str, str]:
    return {
        "BENCH_KAFKA": stage.kafka().bootstrap,
        "BENCH_TOPIC": name,
        "BENCH_GROUP": name,
        "BENCH_CHANGELOG": f"{name}.changelog",
        "BENCH_PARTITIONS": str(PARTITIONS),
        "BENCH_DATA": str(stage.home / name),
    }


def _bare(stage: Stage, name: str) -> AbstractContextManager[Child]:
    return stage.process("bare-loop", ["-m", "tests.bench.bare_loop"], _environment(stage, name))


def _with_quixstreams(stage: Stage) -> Contender:
    """Installs quixstreams into an environment of the stage. Raises Absent."""
    home = stage.home / "quixstreams"
    stage.say(f"contenders: installing {QUIXSTREAMS}")
    _run("quixstreams", [sys.executable, "-m", "venv", str(home)], INSTALL_WITHIN_S)
    python = home / "bin" / "python"
    _run("quixstreams", [str(python), "-m", "pip", "install", "--quiet", QUIXSTREAMS], INSTALL_WITHIN_S)

    def start(stage: Stage, name: str) -> AbstractContextManager[Child]:
        script = str(Path(__file__).with_name("quix_count.py"))
        return stage.process("quixstreams", ["-P", script], _environment(stage, name), program=python)

    return start


def _with_kafka_streams(stage: Stage) -> Contender:
    """Fetches Kafka Streams and compiles the contender. Raises Absent."""
    javac, java = shutil.which("javac"), shutil.which("java")
    if javac is None or java is None:
        raise Absent("Kafka Streams was not run: there is no JDK")
    lines = (JAVA / "kafka-streams-jars.lock").read_text().splitlines()
    jars = tuple(Jar(*line.split()) for line in lines if line and not line.startswith("#"))
    cache = default_cache()
    try:
        extra = fetch_jars(cache.with_name(f"{cache.name}-streams"), stage.say, jars=jars)
    except UploadGateError as error:
        raise Absent(f"Kafka Streams was not run: {error}") from error
    stage.kafka()
    classes = stage.home / "classes"
    path = f"{classes}:{extra}/*:{cache}/*"
    _run("Kafka Streams", [javac, "-cp", path, "-d", str(classes), str(JAVA / "CountStreams.java")], COMPILE_WITHIN_S)

    @contextmanager
    def start(stage: Stage, name: str) -> Iterator[Child]:
        said = ["-Xmx512m", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", path]
        given = [stage.kafka().bootstrap, name, name, str(stage.home / name)]
        with stage.process("kafka-streams", [*said, "CountStreams", *given], {}, program=Path(java)) as child:
            yield child

    return start


def _run(what: str, command: list[str], within_s: float) -> None:
    began = time.monotonic()
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=within_s, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Absent(f"{what} was not run: {error}") from error
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise Absent(
            f"{what} was not run: {Path(command[0]).name} failed after {time.monotonic() - began:.0f} s: {last}"
        )
