"""What `up` settles before it starts anything: ports, addresses, salt."""

from __future__ import annotations

import json
from pathlib import Path

from gate.local.plan import Options, keep_salt, make_plan
from gate.settings import DEFAULT_PORTS


def test_a_taken_default_port_moves_to_a_free_one_and_says_so(tmp_path: Path) -> None:
    taken = DEFAULT_PORTS["gate"]

    plan = make_plan(Options(tmp_path), pick=lambda wanted: 40001 if wanted == taken else wanted or 0)

    assert plan.gate == "http://127.0.0.1:40001"
    assert plan.notes == (f"port {taken} is taken: gate moves to 40001",)


def test_servers_that_are_given_are_used_and_get_no_port(tmp_path: Path) -> None:
    plan = make_plan(Options(tmp_path, redis="redis://r:1/0", kafka="k:2"), pick=lambda wanted: wanted or 0)

    assert (plan.redis, plan.redis_port) == ("redis://r:1/0", None)
    assert (plan.kafka, plan.kafka_port) == ("k:2", None)


def test_the_address_line_is_what_other_programs_read(tmp_path: Path) -> None:
    plan = make_plan(Options(tmp_path), pick=lambda wanted: wanted or 0)

    line = json.loads(plan.address_line())

    assert set(line) == {"gate", "admin", "redis", "kafka", "metrics"}
    assert line["metrics"][0] == line["gate"] + "/metrics"


def test_the_salt_is_made_once_is_private_and_never_shown(tmp_path: Path) -> None:
    plan = make_plan(Options(tmp_path), pick=lambda wanted: wanted or 0)

    again = keep_salt(tmp_path / "salt")

    assert again == plan.salt
    assert len(plan.salt) == 64
    assert (tmp_path / "salt").stat().st_mode & 0o077 == 0
    assert plan.salt not in repr(plan)
