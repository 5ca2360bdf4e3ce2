"""What an event costs: an ordinary Faust agent with a one-counter table against our worker's whole path.

Both are alone on a topic of their own with the same events, and are up and warm before the clock starts. CPU is
counted from then until all events are through: for the agent until its changelog has them, for our worker until its
transactions with states and scores are committed (no lag left). Rounds alternate. The agent gets fewer events of the
same stream, because it takes 20 times as long over each.
"""

from __future__ import annotations

from gate.local.free_port import LOOPBACK, free_port
from gate.local.process import Child
from gate.records.topics import PARTITIONS, Topic, Topics
from tests.bench import proc
from tests.bench.report import BenchError, Spec
from tests.bench.stage import Stage, Talker, await_, metric

FAUST_EVENTS = 30_000
OUR_EVENTS = 150_000
WARM_UP = 400
CROWDS = (1_000, 100_000)
BARS = {1_000: (12.0, 18.0), 100_000: (7.0, 10.0)}

_RATIO = {
    n: Spec(f"ordinary Faust table agent / our worker, CPU per event, {n:,} accounts", "×", *BARS[n], True)
    for n in CROWDS
}
_FAUST = {n: Spec(f"ordinary Faust table agent, CPU per event, {n:,} accounts", "µs") for n in CROWDS}
_OURS = {n: Spec(f"our worker, CPU per event, {n:,} accounts", "µs") for n in CROWDS}
_REDIS = {n: Spec(f"Redis, CPU per event of our worker, {n:,} accounts", "µs") for n in CROWDS}
SPECS = tuple(specs[n] for n in CROWDS for specs in (_RATIO, _FAUST, _OURS, _REDIS))


def measure(stage: Stage, rounds: int) -> dict[Spec, list[float]]:
    """Alternate both contenders, `rounds` times for each size of crowd. Raises BenchError."""
    found: dict[Spec, list[float]] = {spec: [] for spec in SPECS}
    for turn in range(rounds):
        for accounts in CROWDS:
            stage.say(f"streams: round {turn + 1} of {rounds}, {accounts:,} accounts")
            theirs = _faust(stage, accounts, turn)
            ours, redis = _worker(stage, accounts, turn)
            found[_FAUST[accounts]].append(theirs)
            found[_OURS[accounts]].append(ours)
            found[_REDIS[accounts]].append(redis)
            found[_RATIO[accounts]].append(theirs / ours)
    return found


def _faust(stage: Stage, accounts: int, seed: int) -> float:
    """CPU µs an event of the ordinary agent."""
    name = stage.fresh("table")
    topic = Topic(f"{name}.events", PARTITIONS, False, -1)
    stage.declare([topic])
    done = stage.home / f"{name}.done"
    env = {
        "BENCH_KAFKA": stage.kafka().bootstrap,
        "BENCH_TOPIC": topic.name,
        "BENCH_PARTITIONS": str(PARTITIONS),
        "BENCH_DONE": str(done),
        "BENCH_DATA": str(stage.home / name),
    }

    def counted() -> int:
        return int(done.read_text()) if done.exists() else 0

    with stage.process("faust-table", ["-m", "tests.bench.faust_table"], env) as child:
        feed(stage, topic.name, WARM_UP, accounts, seed, 0)
        await_(child, lambda: counted() >= WARM_UP, "the end of its warm-up")
        pid = pid_of(child)
        with sender(stage, topic.name, FAUST_EVENTS, accounts, seed, WARM_UP) as sending:
            before = proc.cpu_s(pid)
            sending.go()
            await_(child, lambda: counted() >= WARM_UP + FAUST_EVENTS, f"{FAUST_EVENTS} events")
            used = proc.cpu_s(pid) - before
        if counted() != WARM_UP + FAUST_EVENTS:
            raise BenchError(f"the Faust agent counted {counted()} of {WARM_UP + FAUST_EVENTS} events")
    return used / FAUST_EVENTS * 1e6


def _worker(stage: Stage, accounts: int, seed: int) -> tuple[float, float]:
    """CPU µs an event of our worker, and of the Redis it writes to."""
    name = stage.fresh("ours")
    events = Topics(f"{name}.").events.name
    port = free_port()
    url = f"http://{LOOPBACK}:{port}/metrics"
    stage.declare(Topics(f"{name}.").all())
    with stage.process("worker", ["-m", "streams.worker"], worker_environment(stage, name, port)) as child:
        feed(stage, events, WARM_UP, accounts, seed, 0)
        await_(child, lambda: is_through(url, WARM_UP), "the end of its warm-up", every_s=0.25)
        pid, redis = pid_of(child), stage.redis().pid or 0
        with sender(stage, events, OUR_EVENTS, accounts, seed, WARM_UP) as sending:
            before, redis_before = proc.cpu_s(pid), proc.cpu_s(redis)
            sending.go()
            await_(child, lambda: is_through(url, WARM_UP + OUR_EVENTS), f"{OUR_EVENTS} events", every_s=0.25)
            used, redis_used = proc.cpu_s(pid) - before, proc.cpu_s(redis) - redis_before
        if dead := metric(url, "upload_gate_dead_letters_total"):
            raise BenchError(f"the worker refused {dead:.0f} of our events")
        if failed := metric(url, "upload_gate_batch_failures_total"):
            stage.say(f"streams: {failed:.0f} batches failed and were repeated, which is counted as CPU too")
    return used / OUR_EVENTS * 1e6, redis_used / OUR_EVENTS * 1e6


def worker_environment(stage: Stage, name: str, metrics_port: int) -> dict[str, str]:
    """The settings of a worker of our own: servers of the stage, names nobody else uses."""
    state = stage.home / name
    state.mkdir(exist_ok=True)
    return {
        "UPLOAD_GATE_KAFKA": stage.kafka().bootstrap,
        "UPLOAD_GATE_REDIS": stage.redis().url,
        "UPLOAD_GATE_SALT": "bench",
        "UPLOAD_GATE_STATE": str(state),
        "UPLOAD_GATE_PREFIX": f"{name}.",
        "UPLOAD_GATE_TOPIC_PREFIX": f"{name}.",
        "UPLOAD_GATE_GROUP": name,
        "UPLOAD_GATE_WORKER_METRICS_PORT": str(metrics_port),
    }


def is_through(url: str, count: int) -> bool:
    """Whether our worker with these metrics has committed so many events and nothing is left."""
    seen = metric(url, "upload_gate_events_total")
    return seen >= count and metric(url, "upload_gate_worker_lag_records") == 0


def feed(stage: Stage, topic: str, count: int, accounts: int, seed: int, first: int) -> None:
    """Send events, numbered from `first`, and wait until the broker has them."""
    with sender(stage, topic, count, accounts, seed, first) as sending:
        sending.go()


def sender(stage: Stage, topic: str, count: int, accounts: int, seed: int, first: int) -> Talker:
    """A process that holds such events ready and sends them at `go`."""
    numbers = {"count": count, "accounts": accounts, "seed": seed, "first": first, "partitions": PARTITIONS}
    given = {"bootstrap": stage.kafka().bootstrap, "topic": topic, **numbers}
    return Talker("tests.bench.produce", *(f"--{key}={value}" for key, value in given.items()))


def pid_of(child: Child) -> int:
    """The process id. Raises BenchError where it has ended."""
    if child.pid is None:
        raise BenchError(f"{child.name} has ended:\n{child.tail()}")
    return child.pid
