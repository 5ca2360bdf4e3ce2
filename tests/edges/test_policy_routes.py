"""Policies over real HTTP: reloaded when the file changes, shown with their defaults, and tried on live traffic."""

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gate.app.policy_trial import PolicyTrial
from gate.cli import main as cli
from gate.cli import policy_try
from gate.cli.http_json import send
from gate.cli.policy_try import merged, progress_line, trial_lines
from gate.local.free_port import free_port
from gate.policyfile import load_policy, packaged_config, parse_policy
from tests.edges.running_gate import CHECK, ask, running_gate
from tests.edges.test_serving import a_gate, answer
from tests.waiting import eventually, wait_until

GOOD = 'version = 1\ndefault_class = "regular"\n[classes.regular]\n'
TOML = {"content-type": "application/toml"}
RAID = packaged_config("presets/raid.toml")[0].encode()


@contextmanager
def a_gate_with_policy(state: Path, policy: Path) -> Iterator[tuple[int, int, int]]:
    """The pid, port and admin port of a gate without a Redis."""
    with a_gate(state, f"redis://127.0.0.1:{free_port()}/0", UPLOAD_GATE_POLICY=str(policy)) as (process, port, admin):
        wait_until(lambda: answer(port, "GET", "/healthz"))
        yield process.pid, port, admin


def written(policy: Path, text: str) -> None:
    """Puts the text there in one step, so that a gate never reads half of it."""
    whole = policy.with_suffix(".new")
    whole.write_text(text)
    whole.replace(policy)


def ready(port: int) -> dict[str, object]:
    reply = answer(port, "GET", "/readyz")
    return {} if reply is None else dict(json.loads(reply[1]))


def test_a_changed_file_is_in_force_without_a_signal_and_a_wrong_one_keeps_the_last_good(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(GOOD)
    better = GOOD + "[classes.new]\n"
    with a_gate_with_policy(tmp_path, policy) as (_, port, _):
        first = ready(port)
        written(policy, better)
        wait_until(lambda: ready(port)["policy"] == parse_policy(better, "p").hash)
        written(policy, "version = 3")
        wait_until(lambda: ready(port)["policy_problem"])
        wrong, page = ready(port), str(answer(port, "GET", "/metrics"))
        written(policy, better)
        wait_until(lambda: ready(port)["policy_problem"] is None)
        right = ready(port)

    assert first["policy"] == parse_policy(GOOD, "p").hash
    assert wrong["policy"] == right["policy"] == parse_policy(better, "p").hash
    assert "policy.toml:1: version: must be 1" in str(wrong["policy_problem"])
    assert "upload_gate_policy_file_refused 1.0" in page
    assert "upload_gate_policy_rejected_total 1.0" in page


def test_a_file_that_is_gone_and_comes_back_changed_is_read(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(GOOD)
    with a_gate_with_policy(tmp_path, policy) as (pid, port, _):
        policy.unlink()
        os.kill(pid, signal.SIGHUP)
        wait_until(lambda: "cannot be read" in str(ready(port)["policy_problem"]))
        policy.write_text(GOOD + "[classes.new]\n")
        wait_until(lambda: ready(port)["policy"] == parse_policy(GOOD + "[classes.new]\n", "p").hash)


def test_dump_prints_the_policy_in_force_with_its_hash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(GOOD)
    with a_gate_with_policy(tmp_path, policy) as (_, _, admin):
        text_code = cli.run(["policy", "dump", "--admin", f"http://127.0.0.1:{admin}"])
        text = capsys.readouterr().out
        json_code = cli.run(["policy", "dump", "-o", "json", "--admin", f"http://127.0.0.1:{admin}"])
        shown = json.loads(capsys.readouterr().out)

    hash_ = parse_policy(GOOD, "p").hash
    assert (text_code, json_code) == (0, 0)
    assert text.startswith(f"# policy {hash_}, from http://127.0.0.1:{admin}/v1/policy/document\n")
    assert parse_policy(text, "dump").hash == hash_ == shown["hash"]
    assert shown["policy"]["check"] == {"deadline": "50ms", "upload_lifetime": "1h"}


def test_diff_prints_words_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    default = packaged_config("policy.toml")[1]
    text_code = cli.run(["policy", "diff", default, "raid"])
    text = capsys.readouterr().out
    json_code = cli.run(["policy", "diff", default, "raid", "-o", "json"])
    shown = json.loads(capsys.readouterr().out)
    same_code = cli.run(["policy", "diff", default, default])

    assert (text_code, json_code, same_code) == (0, 0, 0)
    assert 'limits."account.uploads.minute".rates.new.burst: 5 becomes 2 (tighter)\n' in text
    assert shown["before"] == load_policy(None).hash
    assert {"key": "classes.new.score.deny", "before": 0.85, "after": 0.7, "effect": "tighter"} in shown["differences"]
    assert capsys.readouterr().out == "the policies are the same\n"


async def test_a_trial_begins_counts_shows_and_ends(tmp_path: Path) -> None:
    async with running_gate(tmp_path) as gate:
        none = await ask(gate.admin_port, "GET", "/v1/policy/trial", b"", {})
        begun = await ask(gate.admin_port, "POST", "/v1/policy/trial?for=1h", RAID, TOML)
        again = await ask(gate.admin_port, "POST", "/v1/policy/trial", RAID, TOML)
        for n in range(4):
            await gate.post("/v1/check", {**CHECK, "upload_id": f"u-{n}"})
        shown = await ask(gate.admin_port, "GET", "/v1/policy/trial", b"", {})
        ended = await ask(gate.admin_port, "DELETE", "/v1/policy/trial", b"", {})
        await gate.post("/v1/check", {**CHECK, "upload_id": "u-9"})
        after = await ask(gate.admin_port, "GET", "/v1/policy/trial", b"", {})

    assert [reply.json["ended"] for reply in (begun, shown, ended, after)] == [None, None, "request", "request"]
    assert [none.status, begun.status, again.status, ended.status] == [404, 201, 409, 200]
    assert (shown.json["running"], shown.json["checks"], shown.json["different"]) == (True, 4, 2)
    assert (after.json["running"], after.json["checks"]) == (False, 4)
    (difference,) = shown.json["differences"]
    assert (difference["class"], difference["would"], difference["count"]) == ("new", "throttle", 2)
    assert difference["samples"][0]["upload_id"] == "u-2"


class Failing:
    """A comparison that fails at the first check."""

    def compare(self, *_: object) -> None:
        raise RuntimeError("a fault of the trial")


async def test_a_trial_that_fails_says_so_and_the_next_one_starts_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_gate(tmp_path) as gate:
        await ask(gate.admin_port, "POST", "/v1/policy/trial?for=1h", RAID, TOML)
        with monkeypatch.context() as failing:
            failing.setattr(PolicyTrial, "compare", Failing.compare)
            decided = await gate.post("/v1/check", CHECK)
        failed = await ask(gate.admin_port, "GET", "/v1/policy/trial", b"", {})
        ended = await ask(gate.admin_port, "DELETE", "/v1/policy/trial", b"", {})
        anew = await ask(gate.admin_port, "POST", "/v1/policy/trial?for=1h", RAID, TOML)
        assert gate.check.trial is not None
        gate.check.trial.until_us = 0
        over = await ask(gate.admin_port, "GET", "/v1/policy/trial", b"", {})

    assert decided.status == 200
    assert [reply.json["ended"] for reply in (failed, ended, anew, over)] == ["fault", "fault", None, "time"]
    assert [failed.json["running"], over.json["running"]] == [False, False]


async def test_try_ends_with_its_last_trial_and_says_why_it_ended_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(policy_try, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(PolicyTrial, "compare", Failing.compare)
    async with running_gate(tmp_path / "one") as one, running_gate(tmp_path / "two") as two:
        admins = [word for gate in (one, two) for word in ("--admin", f"http://127.0.0.1:{gate.admin_port}")]
        command = ["policy", "try", "raid", "--for", "1h", *admins, "-o", "json"]
        trying = asyncio.create_task(asyncio.to_thread(cli.run, command))
        await eventually(lambda: one.check.trial is not None and two.check.trial is not None)
        await one.post("/v1/check", CHECK)
        await ask(two.admin_port, "DELETE", "/v1/policy/trial", b"", {})
        code = await trying

    told = capsys.readouterr()
    assert code == 1
    assert json.loads(told.out)["ended"] == ["fault", "request"]
    assert f"{one.admin_port} ended early: comparing a check failed" in told.err
    assert f"{two.admin_port} ended early: somebody else ended it" in told.err


async def test_try_goes_on_while_a_gate_is_away_and_warns_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    away, latest, lost = f"http://127.0.0.1:{free_port()}", dict[str, policy_try.Trial](), set[str]()
    async with running_gate(tmp_path) as gate:
        url = f"http://127.0.0.1:{gate.admin_port}"
        restarted = await asyncio.to_thread(policy_try.goes_on, url, latest, lost, True)
        goes_on = [policy_try.goes_on(away, latest, lost, True) for _ in range(2)]

    told = " ".join(capsys.readouterr().err.split())
    assert (restarted, goes_on, latest) == (False, [True, True], {})
    assert told.count(f"the trial at {away} cannot be read now") == 1
    assert f"the trial at {url} is lost" in told


@pytest.mark.parametrize(
    ("body", "path", "headers", "status", "reason"),
    [
        (b"version = 3", "", TOML, 400, "policy.invalid"),
        (b"\xff", "", TOML, 400, "policy.invalid"),
        (b"#" * ((1 << 20) + 1), "", TOML, 400, "policy.invalid"),
        (RAID, "?for=soon", TOML, 400, "policy.invalid"),
        (RAID, "?for=25h", TOML, 400, "policy.invalid"),
        (RAID, "", {"content-type": "text/plain"}, 415, "media_type.unsupported"),
        (RAID, "", {**TOML, "content-encoding": "gzip"}, 415, "content_encoding.unsupported"),
        (RAID, "", {**TOML, "origin": "http://evil.example"}, 403, "origin.refused"),
    ],
    ids=["wrong", "no text", "long", "no span", "long span", "other type", "compressed", "from a page"],
)
async def test_what_is_no_trial_is_a_problem(
    tmp_path: Path, body: bytes, path: str, headers: dict[str, str], status: int, reason: str
) -> None:
    async with running_gate(tmp_path) as gate:
        reply = await ask(gate.admin_port, "POST", f"/v1/policy/trial{path}", body, headers)

    assert (reply.status, reply.json["reason"]) == (status, reason)
    assert gate.check.trial is None


def test_try_runs_on_two_gates_and_prints_the_sum(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(GOOD)
    with a_gate_with_policy(tmp_path, policy) as (_, _, one), a_gate_with_policy(tmp_path, policy) as (_, _, two):
        admins = [word for port in (one, two) for word in ("--admin", f"http://127.0.0.1:{port}")]
        code = cli.run(["policy", "try", "raid", "--for", "1s", *admins, "-o", "json"])
        shown = json.loads(capsys.readouterr().out)
        trials = [answer(port, "GET", "/v1/policy/trial") for port in (one, two)]

    assert code == 0
    assert (shown["gates"], shown["checks"], shown["policy"]) == (2, 0, load_policy(Path("raid")).hash)
    assert [json.loads(trial[1])["running"] for trial in trials if trial] == [False, False]


def test_a_wrong_candidate_or_an_absent_gate_ends_with_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    codes = [
        cli.run(["policy", "try", "nowhere.toml"]),
        cli.run(["policy", "try", "raid", "--for", "soon"]),
        cli.run(["policy", "try", "raid", "--for", "1s", "--admin", away]),
    ]

    told = capsys.readouterr().err.splitlines()
    assert codes == [2, 2, 1]
    assert "nowhere.toml: cannot be read" in told[0]
    assert "--for: 'soon' is not a span of time" in told[1]
    assert f"{away}/v1/policy/trial?for=1s does not answer" in told[2]


def test_a_finished_trial_is_printed_in_lines() -> None:
    kind = {"class": "new", "decision": "allow", "reason": "allow", "would": "deny", "would_reason": "deny_list"}
    sample = {"upload_id": "u-1", "account": "a-1", "at_us": 1}
    trial = {"policy": "b", "in_force": "a", "checks": 10, "differences": [{**kind, "count": 2, "samples": [sample]}]}

    lines = trial_lines(merged([trial, trial]))

    assert lines == [
        "policy b beside a: 4 of 20 uploads would be decided differently (20.0%)",
        "        4  new: allow (allow) would be deny (deny_list)",
        "           such as u-1 of a-1, u-1 of a-1",
    ]
    assert trial_lines(merged([]))[-1] == "no upload was checked meanwhile"


def test_a_trial_names_the_checks_that_a_gate_decided_without_its_redis(tmp_path: Path) -> None:
    """The gate has no Redis, so that nothing at all can be compared."""
    policy = tmp_path / "policy.toml"
    policy.write_text(GOOD)
    with a_gate_with_policy(tmp_path, policy) as (_, port, admin):
        send("POST", f"http://127.0.0.1:{admin}/v1/policy/trial?for=1h", RAID, TOML["content-type"])
        for n in range(3):
            answer(port, "POST", "/v1/check", {**CHECK, "upload_id": f"u-{n}"})
        reply = answer(admin, "DELETE", "/v1/policy/trial")
    shown = json.loads(reply[1]) if reply else {}

    total = merged([shown, shown])

    assert (shown["checks"], shown["without_store"], shown["different"]) == (0, 3, 0)
    assert trial_lines(total)[-1] == (
        "6 more were decided while Redis did not answer, and not compared: the trial says nothing"
    )
    assert progress_line(total) == (
        "0 of 0 uploads would be decided differently so far; 6 more were not compared, as Redis does not answer"
    )


def test_a_trial_of_a_gate_of_an_earlier_release_is_shown_as_it_is() -> None:
    old = {"policy": "b", "in_force": "a", "checks": 10, "differences": []}
    some = {**old, "without_store": 1}

    assert merged([old, old])["without_store"] == 0
    assert progress_line(merged([old])) == "0 of 10 uploads would be decided differently so far"
    assert trial_lines(merged([old, some]))[-1] == (
        "1 more was decided while Redis did not answer, and not compared: the trial says nothing about it"
    )


def test_a_gate_takes_a_preset_by_its_name(tmp_path: Path) -> None:
    with a_gate(tmp_path, f"redis://127.0.0.1:{free_port()}/0", UPLOAD_GATE_POLICY="raid") as (_, port, _):
        wait_until(lambda: answer(port, "GET", "/healthz"))

        assert ready(port)["policy"] == load_policy(Path("raid")).hash


def test_up_refuses_a_policy_that_no_gate_could_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("version = 3")

    code = cli.run(["up", "--no-traffic", "--state", str(tmp_path), "--policy", str(wrong)])

    assert code == 2
    assert f"{wrong}:1: version: must be 1" in capsys.readouterr().err
