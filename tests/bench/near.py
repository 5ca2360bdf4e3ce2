"""What finding a near-duplicate costs an upload while a million pictures are remembered, and how many pairs are found."""

from __future__ import annotations

import time
from statistics import median

import numpy as np

from streams.core.near import LONG_HASH, SHORT_HASH, Hashes, NearHashes, NearShape
from tests.bench.report import Spec
from tests.bench.stage import Stage

CAPACITY = 1 << 20
CHUNK = 4_096
PAIRS = 20_000
BATCH = 128

SHAPES = {"64 bits": SHORT_HASH, "256 bits": LONG_HASH}
COST = {
    name: Spec(f"near-duplicates of {name}: look up and remember, a million known", "µs CPU/upload", 10.0)
    for name in SHAPES
}
FOUND = {
    name: Spec(f"near-duplicates of {name}: pairs at the full distance found", "share", 0.95, higher_is_better=True)
    for name in SHAPES
}
SPECS = tuple(spec for name in SHAPES for spec in (COST[name], FOUND[name]))


def measure(stage: Stage, rounds: int) -> dict[Spec, list[float]]:
    """One filled memory a shape; a round looks up and remembers new pictures in batches."""
    runs: dict[Spec, list[float]] = {}
    for name, shape in SHAPES.items():
        random = np.random.default_rng(3)
        near = NearHashes(shape, CAPACITY)
        known = _hashes(random, shape, CAPACITY)
        for start in range(0, CAPACITY, CHUNK):
            near.remember(known[start : start + CHUNK], np.arange(start, start + CHUNK))
        wanted = random.integers(0, CAPACITY, PAIRS)
        found = near.nearest(_turned(random, shape, known[wanted]))
        runs[FOUND[name]] = [float((found == wanted).mean())]
        runs[COST[name]] = [_cost(near, _hashes(random, shape, PAIRS)) for _ in range(rounds)]
    return runs


def _hashes(random: np.random.Generator, shape: NearShape, count: int) -> Hashes:
    return random.integers(0, 1 << 64, (count, shape.bits // 64), dtype=np.uint64)


def _turned(random: np.random.Generator, shape: NearShape, hashes: Hashes) -> Hashes:
    """Each hash with as many bits turned as the distance allows."""
    turned = hashes.copy()
    for row in turned:
        for bit in random.choice(shape.bits, shape.distance, replace=False):
            row[bit // 64] ^= np.uint64(1) << np.uint64(bit % 64)
    return turned


def _cost(near: NearHashes, fresh: Hashes) -> float:
    costs = []
    for start in range(0, len(fresh) - BATCH, BATCH):
        batch = fresh[start : start + BATCH]
        began = time.process_time()
        near.nearest(batch)
        near.remember(batch, np.arange(BATCH))
        costs.append((time.process_time() - began) / BATCH * 1e6)
    return median(costs)
