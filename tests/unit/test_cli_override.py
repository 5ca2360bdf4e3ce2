"""`override` and `peek` as typed: what they write, what they refuse, and what they say."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gate.cli import override as override_commands
from gate.cli.main import run
from gate.cli.new_override import overrides_in
from gate.cli.peek import limit_line
from gate.core.duration import DAY_US
from gate.core.override import Override
from gate.errors import OperatorError
from gate.local.free_port import free_port
from gate.records.audit import AuditRecord, check_chain, decode_audit
from gate.stores.redis.overrides import RedisOverrideStore

NOW_US = 1_800_000_000_000_000


@pytest.fixture
def place(redis_url: str, unique: Callable[[], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The prefix of the overrides that the commands write."""
    prefix = f"{unique()}:"
    monkeypatch.setenv("UPLOAD_GATE_REDIS", redis_url)
    monkeypatch.setenv("UPLOAD_GATE_PREFIX", prefix)
    monkeypatch.setenv("UPLOAD_GATE_STATE", str(tmp_path))
    return prefix


def stored(redis_url: str, prefix: str, account: str) -> Override | None:
    async def read() -> Override | None:
        store = RedisOverrideStore(redis_url, prefix)
        try:
            (found,) = await store.overrides([account])
            return found
        finally:
            await store.close()

    return asyncio.run(read())


@pytest.mark.parametrize(
    ("flags", "allow", "limits"),
    [(["--allow"], True, None), (["--deny"], False, None), (["--limits", "Trusted"], False, "trusted")],
)
def test_an_override_is_set_shown_listed_and_removed(
    redis_url: str, place: str, capsys: pytest.CaptureFixture[str], flags: list[str], allow: bool, limits: str | None
) -> None:
    typed = ["override", "set", "a-17", *flags, "--for", "7d", "--reason", "moves her archive", "--by", "ada", "--yes"]

    code = run(typed)
    found = stored(redis_url, place, "a-17")
    capsys.readouterr()
    listed = run(["override", "list", "-o", "json"])
    told = json.loads(capsys.readouterr().out)
    removed = run(["override", "remove", "a-17", "--yes"])

    assert (code, listed, removed) == (0, 0, 0)
    assert found is not None
    assert (found.allow, found.limits, found.reason, found.owner) == (allow, limits, "moves her archive", "ada")
    assert 6 * DAY_US < found.expires_at_us - time.time_ns() // 1000 <= 7 * DAY_US
    assert [(each["account"], each["limits"]) for each in told["overrides"]] == [("a-17", limits)]
    assert stored(redis_url, place, "a-17") is None


def test_a_mistyped_class_is_warned_about_and_set_all_the_same(
    redis_url: str, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = ["override", "set", "a-17", "--for", "7d", "--reason", "x", "--by", "ada", "--yes"]

    mistyped = run([*typed, "--limits", "trustd"])
    warned = capsys.readouterr().err
    known = run([*typed, "--limits", "trusted"])
    afterwards = capsys.readouterr().err

    assert (mistyped, known) == (0, 0)
    assert "the class trustd is not in" in warned
    assert "Did you mean trusted?" in warned
    assert "warning" not in afterwards
    assert (found := stored(redis_url, place, "a-17")) is not None
    assert found.limits == "trusted"


@pytest.mark.parametrize(
    "typed",
    [
        ["--for", "7d", "--reason", "x"],
        ["--allow", "--deny", "--for", "7d", "--reason", "x"],
        ["--allow", "--limits", "new", "--for", "7d", "--reason", "x"],
        ["--allow", "--for", "7", "--reason", "x"],
        ["--allow", "--for", "7d", "--reason", " "],
        ["--allow", "--reason", "x"],
        ["--allow", "--for", "7d"],
        ["--limits", " ", "--for", "7d", "--reason", "x"],
    ],
)
def test_an_override_without_expiry_reason_or_with_two_meanings_is_refused(
    redis_url: str, place: str, typed: list[str]
) -> None:
    code = run(["override", "set", "a-17", *typed, "--yes"])

    assert code == 2
    assert stored(redis_url, place, "a-17") is None


def test_without_a_typed_yes_nothing_is_set(redis_url: str, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)

    code = run(["override", "set", "a-17", "--allow", "--for", "7d", "--reason", "x"])

    assert code == 2
    assert stored(redis_url, place, "a-17") is None


def test_a_file_is_shown_in_a_dry_run_and_set_with_yes(
    redis_url: str, place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "overrides.jsonl"
    lines = [{"account": f"a-{n}", "limits": "trusted", "for": "2d", "reason": "press"} for n in range(25)]
    file.write_text("\n".join(map(json.dumps, lines)) + "\n\n")

    dry = run(["override", "import", str(file), "--dry-run", "-o", "json"])
    would = json.loads(capsys.readouterr().out)
    before = stored(redis_url, place, "a-3")
    done = run(["override", "import", str(file), "--yes", "-o", "json"])
    did = json.loads(capsys.readouterr().out)

    assert (dry, done, before) == (0, 0, None)
    assert would == {"overrides": 25, "replaced": 0, "set": False}
    assert did == {"overrides": 25, "replaced": 0, "set": True}
    assert all(stored(redis_url, place, f"a-{n}") is not None for n in range(25))


@pytest.mark.parametrize(("accounts", "said"), [(1, "1 override is set"), (2, "2 overrides are set")])
def test_a_file_is_counted_before_and_after_it_is_set(
    redis_url: str, place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], accounts: int, said: str
) -> None:
    file = tmp_path / "overrides.jsonl"
    lines = [{"account": f"a-{n}", "deny": True, "for": "2d", "reason": "farm"} for n in range(accounts)]
    file.write_text("\n".join(map(json.dumps, lines)))

    first = run(["override", "import", str(file), "--yes"])
    once = capsys.readouterr()
    again = run(["override", "import", str(file), "--dry-run"])
    twice = capsys.readouterr()

    assert (first, again) == (0, 0)
    assert once.out.strip() == said
    assert f"{said.split(' ')[0]} of them replace" not in once.err
    assert f"; {accounts} of them replace{'s' if accounts == 1 else ''} an earlier one" in twice.err


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("[]", "is not a JSON object"),
        ("{", "is not JSON; each line is one override"),
        ('{"account":"a","for":"2d","reason":"x"}', "either lets in, refuses or changes limits"),
        ('{"account":"a","allow":true,"for":"2d"}', "reason is missing"),
        ('{"account":"a","allow":true,"for":"2 d","reason":"x"}', "not a span of time"),
        ('{"account":"a","allow":true,"for":"2d","reason":"x","why":1}', "unknown fields: why"),
        ('{"account":"a","limits":7,"for":"2d","reason":"x"}', "limits is the name of a class"),
    ],
)
def test_a_mistake_in_a_file_names_its_line_and_nothing_is_set(tmp_path: Path, line: str, expected: str) -> None:
    file = tmp_path / "overrides.jsonl"
    file.write_text('{"account":"b","deny":true,"for":"2d","reason":"x"}\n' + line + "\n")

    with pytest.raises(OperatorError, match=f":2: .*{expected}"):
        overrides_in(file, "ada", NOW_US)


@pytest.mark.parametrize("ahead_s", [-7_200, 7_200])
@pytest.mark.parametrize("by_file", [False, True])
def test_an_override_lasts_as_long_as_it_says_whatever_the_clock_of_the_operators_host(
    redis_url: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    ahead_s: int, by_file: bool,
) -> None:  # fmt: skip
    began_us, wrong_ns = time.time_ns() // 1000, ahead_s * 1_000_000_000
    own = time.time_ns
    monkeypatch.setattr("time.time_ns", lambda: own() + wrong_ns)
    file = tmp_path / "overrides.jsonl"
    file.write_text('{"account":"a-17","deny":true,"for":"30m","reason":"x"}')
    typed = ["import", str(file)] if by_file else ["set", "a-17", "--deny", "--for", "30m", "--reason", "x"]

    code = run(["override", *typed, "--by", "ada", "--yes"])
    told = capsys.readouterr()
    shown = run(["override", "show", "a-17"])
    found = stored(redis_url, place, "a-17")

    assert (code, shown) == (0, 0)
    assert found is not None
    assert 0 <= found.expires_at_us - began_us - 1_800_000_000 < 60_000_000
    assert "a-17 is refused for 30m, by ada" in told.err + told.out
    assert "a-17 is refused for 30m, by ada" in capsys.readouterr().out


def test_what_is_left_of_a_limit_is_told_in_one_line() -> None:
    told = {"limit": "account.uploads.minute", "unit": "uploads", "burst": 5, "left": 3, "full_in": 39.2}

    assert limit_line(told) == "  account.uploads.minute: 3 of 5 uploads left, full in 39s"
    parallel = {"limit": "account.parallel", "unit": "in_flight", "burst": 4, "left": 1, "full_in": 0}
    assert limit_line(parallel) == "  account.parallel: 1 of 4 in flight left, full"
    assert limit_line(
        {"limit": "platform.bytes", "unit": "bytes", "burst": 40 << 30, "left": 3 << 20, "full_in": 0}
    ) == ("  platform.bytes: 3 MiB of 40 GiB left, full")
    assert limit_line(
        {"limit": "class", "unit": "uploads", "burst": 60_000, "left": 59_000, "full_in": 1, "leased": 1_200}
    ) == ("  class: 59,000 of 60,000 uploads left, full in 1s, 1,200 of them held by this gate")


def test_an_account_is_read_as_checks_read_it_whether_typed_or_in_a_file(
    redis_url: str, place: str, tmp_path: Path
) -> None:
    file = tmp_path / "overrides.jsonl"
    file.write_text('{"account":" a-2\\t","deny":true,"for":"7d","reason":"farm"}\n')

    typed = run(["override", "set", " a-1 ", "--deny", "--for", "7d", "--reason", "farm", "--yes"])
    imported = run(["override", "import", str(file), "--yes"])
    hidden = run(["override", "set", "a\u200b-3", "--deny", "--for", "7d", "--reason", "farm", "--yes"])

    found = [stored(redis_url, place, account) for account in ("a-1", "a-2")]
    assert (typed, imported, hidden) == (0, 0, 2)
    assert all(each is not None and not each.allow for each in found)


def records(place: Path) -> list[AuditRecord]:
    lines = (place / "audit.jsonl").read_bytes().splitlines()
    assert check_chain(lines).problems == ()
    return [decode_audit(line) for line in lines]


def test_the_audit_log_has_who_set_and_removed_an_override_and_the_attempts_that_were_refused_or_failed(
    redis_url: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = ["override", "set", "a-17", "--for", "7d", "--reason", "known here", "--yes"]

    codes = [
        run([*typed, "--allow", "--by", "ada"]),
        run([*typed, "--deny", "--by", "bob"]),
        run(["override", "remove", "a-17", "--yes", "--by", "cid"]),
        run(["override", "remove", "a-17", "--yes", "--by", "cid"]),
    ]
    err = capsys.readouterr().err
    monkeypatch.setenv("UPLOAD_GATE_REDIS", f"redis://127.0.0.1:{free_port()}/0")
    run([*typed, "--allow", "--by", "dan"])

    found = records(tmp_path)
    assert codes == [0, 0, 0, 2]
    assert [(one.act, one.who, one.outcome, one.account, one.pause) for one in found[:4]] == [
        ("override set", "ada", "done", "a-17", ""),
        ("override set", "bob", "done", "a-17", ""),
        ("override remove", "cid", "done", "a-17", ""),
        ("override remove", "cid", "refused", "a-17", ""),
    ]
    assert found[0].before is None
    assert found[1].before is not None
    assert (found[1].before["allow"], found[1].before["owner"]) == (True, "ada")
    assert found[2].after is None
    assert "has no override" in found[3].detail
    assert f"recorded in {tmp_path / 'audit.jsonl'}" in err
    assert [(one.who, one.outcome) for one in found[4:]] == [("dan", "failed")]


def test_a_file_of_overrides_is_recorded_account_by_account_and_history_shows_one_of_them(
    redis_url: str, place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "photographers.jsonl"
    file.write_text("".join(f'{{"account":"a-{n}","for":"7d","reason":"x","limits":"trusted"}}\n' for n in range(30)))

    code = run(["override", "import", str(file), "--by", "ada", "--yes"])
    capsys.readouterr()
    told = run(["history", "a-7"])

    assert (code, told) == (0, 0)
    assert [one.account for one in records(tmp_path)] == [f"a-{n}" for n in range(30)]
    out = " ".join(capsys.readouterr().out.split())
    assert "override set a-7 by ada limits of trusted, x" in out
    assert "a-8" not in out


def test_a_file_that_cannot_be_read_is_named_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "latin").write_bytes(b"a-\xe9\n")
    for typed, words in (
        (["override", "import", str(tmp_path / "none"), "--yes"], "No such file or directory"),
        (["override", "import", str(tmp_path), "--yes"], "Is a directory"),
        (["override", "import", str(tmp_path / "latin"), "--yes"], "it is not UTF-8 text"),
        (["pause", "--accounts", str(tmp_path / "none"), "--reason", "raid", "--yes"], "No such file or directory"),
        (["pause", "--accounts", str(tmp_path / "latin"), "--reason", "raid", "--yes"], "it is not UTF-8 text"),
        (["scorecard", "check", str(tmp_path / "none")], "No such file or directory"),
        (["policy", "check", str(tmp_path / "none")], "No such file or directory"),
        (["events", "check", str(tmp_path / "none")], "No such file or directory"),
    ):
        code = run(typed)

        err = capsys.readouterr().err
        assert code == 2, typed
        assert words in err
        assert "Errno" not in err
        assert "codec" not in err


def test_a_reason_that_no_override_can_hold_sets_none_of_the_file(
    redis_url: str, place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [{"account": f"a-{n}", "for": "7d", "reason": "x" * (20_000 if n else 3), "allow": True} for n in range(2)]
    (tmp_path / "list").write_text("\n".join(map(json.dumps, lines)))

    code = run(["override", "import", str(tmp_path / "list"), "--yes"])

    assert code == 2
    assert f"{tmp_path}/list:2: no override can hold this" in capsys.readouterr().err
    assert stored(redis_url, place, "a-0") is None


def test_a_change_of_overrides_that_ctrl_c_ends_is_recorded(
    redis_url: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(RedisOverrideStore, "put_override", interrupted)

    code = run(["override", "set", "a-1", "--deny", "--for", "1h", "--reason", "spam \udcff", "--yes"])

    (record,) = [decode_audit(line) for line in (tmp_path / "audit.jsonl").read_bytes().splitlines()]
    assert code == 2
    assert (record.outcome, record.account) == ("failed", "a-1")
    assert "it may have been written" in record.detail
    assert record.after is not None
    assert record.after["reason"] == "spam \ufffd"


@pytest.mark.parametrize("act", ["set", "remove"])
def test_an_override_that_another_operator_sets_during_the_question_is_named_and_recorded(
    redis_url: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    act: str,
) -> None:  # fmt: skip
    run(["override", "set", "a-1", "--limits", "trusted", "--for", "1h", "--reason", "moves", "--by", "ann", "--yes"])
    meanwhile = Override(False, "a farm", "bob", (time.time_ns() // 1000) + DAY_US)

    def answers(_: str) -> bool:
        async def put() -> None:
            store = RedisOverrideStore(redis_url, place)
            await store.put_override("a-1", meanwhile)
            await store.close()

        asyncio.run(put())
        return True

    monkeypatch.setattr(override_commands, "confirmed", answers)
    capsys.readouterr()

    flags = ["--allow", "--for", "1h", "--reason", "x"] if act == "set" else []
    code = run(["override", act, "a-1", *flags, "--by", "cid"])

    said = " ".join(capsys.readouterr().err.split())
    record = records(tmp_path)[-1]
    assert code == 0
    assert "warning: set meanwhile and replaced by this change: a-1 is refused for" in said
    assert "by bob: a farm" in said
    assert (record.before or {})["owner"] == "bob"


def test_an_override_that_replaces_what_was_shown_is_no_surprise(
    place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        run(["override", "set", "a-1", "--deny", "--for", "1h", "--reason", "x", "--by", "ann", "--yes"])

    said = capsys.readouterr().err
    assert "it replaces: a-1 is refused" in " ".join(said.split())
    assert "meanwhile" not in said
