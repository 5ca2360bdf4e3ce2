"""Command lines and their exit codes, as far as no server is needed; and what happens where none answers."""

from __future__ import annotations

import gzip
import io
import json
import re
import socket
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.cli import main as cli
from gate.cli.output import confirmed, emit, result, say, wrapped
from gate.errors import UploadGateError, redact
from gate.local.free_port import free_port
from streams.traffic.run import Sent, TrafficOptions

RAID = ("--reason", "raid", "--yes")


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that is nowhere, so that no test meets one that happens to run on this machine."""
    port = free_port()
    for name in ("GATE", "ADMIN"):
        monkeypatch.setenv(f"UPLOAD_GATE_{name}", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("UPLOAD_GATE_REDIS", f"redis://:s3cret@127.0.0.1:{port}/0")
    monkeypatch.setenv("UPLOAD_GATE_STATE", str(tmp_path))
    for name in ("UPLOAD_GATE_POLICY", "UPLOAD_GATE_DEBUG", "UPLOAD_GATE_OWNER"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--reason", "raid", "--yes"), 2, "--all"),
        (("--all", "--class", "new", *RAID), 2, "--all does not go with class new"),
        (("--all", "--yes"), 2, "needs a reason"),
        (("--all", "--for", "soon", *RAID), 2, "10m"),
        (("--all", "--for", "25h", *RAID), 3, "second person"),
        (("--all", "--for", "25h", *RAID), 3, "24h for one person"),
        (("--all", "--for", "25h", *RAID), 3, "--emergency WHY"),
        (("--all", "--emergency", " ", *RAID), 2, "--emergency gives no reason"),
        (("--all", "--emergency", "", *RAID), 2, "--emergency gives no reason"),
        (("--all", "--emergency", "x" * 2_001, *RAID), 2, "longer than 2000"),
        (("--all", "--for", "25h", "--machine", *RAID), 4, "a machine's pause lasts at most 60 s"),
        (("--all", "--for", "400d", *RAID), 2, "at most 24h for one person"),
        (("--all", "--for", "31d", "--propose", *RAID), 2, "longer than 30d"),
        (("--class", "new", "--for", "10m", "--machine", *RAID), 4, "at most 60 s"),
        (("--class", "new", "--for", "4h", "--machine", *RAID), 4, "at most 60 s"),
        (("--all", "--for", "0s", *RAID), 2, "more than 0, at most 24h for one person"),
        (("--all", "--for", "10", *RAID), 2, "is not a span of time: write 90s"),
        (("--class", "--for", "10m", *RAID), 2, "--class needs a value, and is followed by --for"),
        (("--country", "Germany", *RAID), 2, "--country GERMANY is not a country as uploads name it. Give two letters"),
        (("--all", "--action", "explode", *RAID), 2, "explode"),
        (("--all", "--owner", "a\x07b", *RAID), 2, "--owner"),
        (("--class", "", *RAID), 2, "scope"),
        (("--class", "\u200b", *RAID), 2, "--class"),
        (("--kind", "im\x1bage", *RAID), 2, "--kind"),
        (("--nonsense",), 2, "--nonsense"),
        (("--all", *RAID), 1, "break-glass"),
        (("--all", *RAID), 1, "connection refused"),
    ],
)
def test_a_pause_that_cannot_be_set_says_why(
    arguments: tuple[str, ...], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = cli.run(["pause", *arguments])

    out, err = capsys.readouterr()
    assert ended == code
    assert says in err
    assert out == ""
    assert "s3cret" not in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("dlq", "list", "--limit", "x"), "'--limit': 'x' is not a whole number"),
        (("dlq", "list", "--limit", "0"), "'--limit': '0' is less than 1"),
        (("check", "--bytes", "1.5"), "'--bytes': '1.5' is not a whole number"),
        (("up", "--port-base", "9" * 30), "'--port-base': '999999999999999999999999999999' is more than 65,531"),
        (("simulate", "--rate", "{x}"), "'--rate': '{x}' is not a number"),
        (("status", "-o", "yaml"), "'-o': 'yaml' is not one of 'text', 'json'."),
    ],
    ids=" ".join,
)
def test_a_value_of_another_kind_is_refused_in_our_own_words(
    arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(list(arguments)) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(("length", "code"), [("25h", 3), ("10m", 1)])
def test_the_record_of_a_pause_that_was_not_set_says_which_one_it_was(
    length: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = cli.run(["pause", "--class", "new", "--percent", "20", "--for", length, *RAID])
    capsys.readouterr()
    assert cli.run(["history"]) == 0

    assert ended == code
    assert f"stop class new, 20% of accounts, for {length}, reason raid" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--class", "nw", *RAID), ("the class nw is not in the shipped policy", "Did you mean new?")),
        (("--class", "vip", *RAID), ("the class vip is not in", "new, unverified, regular")),
        (("--all", "--reason", "rade", "--yes"), ("the reason rade is not in", "Did you mean raid?")),
    ],
)
def test_a_name_that_is_unknown_here_is_warned_about_and_paused_all_the_same(
    arguments: tuple[str, ...], says: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    ended = cli.run(["pause", *arguments])

    err = capsys.readouterr().err
    assert ended == 1  # it went on to Redis, which is not there
    assert "break-glass" in err
    assert all(expected in err for expected in ("warning: ", "pausing all the same", *says))


@pytest.mark.parametrize("content", [None, "version = 1\ndefault_class = 'nobody'\n", "[[[[", "\x00"])
def test_a_broken_policy_file_at_hand_does_not_hold_up_a_pause(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "policy.toml"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("UPLOAD_GATE_POLICY", str(file))

    ended = cli.run(["pause", "--class", "vip", *RAID, "--dry-run"])

    err = capsys.readouterr().err
    assert ended == 0
    assert f"names are not checked, the policy file {file} cannot be used" in err


@pytest.mark.parametrize(
    ("typed", "scope"),
    [
        (("--kind", "IMAGE"), {"kinds": ["image"]}),
        (("--kind", " image\t"), {"kinds": ["image"]}),
        (("--kind", "im\u200bage", "--kind", "Image"), {"kinds": ["image"]}),
        (("--surface", "ＰＯＳＴ"), {"surfaces": ["post"]}),
        (("--class", "New"), {"classes": ["new"]}),
        (("--country", "de "), {"countries": ["DE"]}),
    ],
)
def test_a_scope_is_compared_without_regard_to_case_and_what_nobody_sees(
    typed: tuple[str, str], scope: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    ended = cli.run(["pause", *typed, *RAID, "--dry-run", "-o", "json"])

    assert ended == 0
    assert json.loads(capsys.readouterr().out)["scope"] == scope


def test_ctrl_c_at_the_question_says_that_nothing_was_changed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted(io.StringIO):
        def readline(self, *_: object) -> str:  # type: ignore[override]
            raise KeyboardInterrupt

    monkeypatch.setattr("sys.stdin", Interrupted())

    ended = cli.run(["pause", "--class", "new", "--reason", "raid"])

    assert ended == 2
    assert "cancelled; nothing was changed" in capsys.readouterr().err


@pytest.mark.parametrize("command", [("status",), ("check", "--account", "a"), ("explain", "a"), ("release", "p-1")])
def test_a_state_directory_without_a_system_is_an_error_that_names_it(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("REDIS", "GATE", "ADMIN", "STATE"):
        monkeypatch.delenv(f"UPLOAD_GATE_{name}")

    ended = cli.run([*command, "--state", str(tmp_path / "stopped")])

    out, err = capsys.readouterr()
    assert ended == 2
    assert f"{tmp_path / 'stopped'} holds no up.json" in err
    assert out == ""


@pytest.mark.parametrize("typed", [("--version",), ("-V",), ("pause", "--version"), ("worker", "--version")])
def test_the_version_is_told_everywhere(typed: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    ended = cli.run(typed)

    assert ended == 0
    assert capsys.readouterr().out.startswith("upload-gate 0.")


@pytest.mark.parametrize(
    ("typed", "unwanted"),
    [
        (
            "pause",
            ("uvicorn", "starlette", "prometheus_client", "rich", "aiokafka", "faust", "redis", "streams", "tomllib"),
        ),
        (
            "status",
            ("uvicorn", "starlette", "prometheus_client", "rich", "aiokafka", "faust", "redis", "streams", "tomllib"),
        ),
        ("replay", ("gate.cli.pause", "gate.cli.up", "faust", "aiokafka", "redis")),
    ],
)
def test_only_the_command_that_was_typed_is_imported(typed: str, unwanted: tuple[str, ...]) -> None:
    program = f"import sys; from gate.cli.main import build; build([{typed!r}]); print(*sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()

    assert "typer" in loaded
    assert sorted(set(unwanted) & set(loaded)) == []


HOSTILE = "a\x1b[2J\r\n\u202e\x9b"


def test_foreign_text_is_escaped_on_both_streams_and_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    say(HOSTILE)
    result(HOSTILE)
    emit({"account": HOSTILE})

    out, err = capsys.readouterr()
    escaped = "a\\e[2J\\r\\n\\u202e\\x9b\n"
    assert err == escaped
    assert out.startswith(escaped)
    assert not set("\x1b\r\u202e\x9b") & set(out)
    assert json.loads(out.removeprefix(escaped)) == {"account": HOSTILE}


@pytest.mark.parametrize("command", [("check", "--account", HOSTILE), ("explain", HOSTILE), ("release", HOSTILE)])
def test_a_hostile_id_cannot_steer_the_terminal(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    cli.run(command)

    out, err = capsys.readouterr()
    assert not set("\x1b\r\u202e\x9b") & set(out + err)


@pytest.mark.parametrize(("typed", "code"), [("", 2), ("no\n", 2), ("\n", 2), ("yes\n", 1), ("Y\n", 1)])
def test_a_pause_is_set_only_after_a_yes(
    typed: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))

    ended = cli.run(["pause", "--class", "new", "--for", "10m", "--reason", "raid"])

    out, err = capsys.readouterr()
    assert ended == code  # 1: it went on to Redis, which is not there
    assert "stop uploads of class new for 10m" in err
    assert "in the last 15 minutes is unknown" in err
    assert out == ""


def test_a_dry_run_writes_nothing_and_prints_json_alone(capsys: pytest.CaptureFixture[str]) -> None:
    ended = cli.run(["pause", "--country", "de", "--kind", "image", *RAID, "--dry-run", "-o", "json"])

    out, err = capsys.readouterr()
    assert ended == 0
    assert json.loads(out)["scope"] == {"kinds": ["image"], "countries": ["DE"]}
    assert "nothing was changed" in err


@pytest.mark.parametrize("command", [("status",), ("status", "-o", "json"), ("release", "p-1"), ("explain", "a-1")])
def test_with_everything_down_it_names_where_it_looked_without_passwords(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    ended = cli.run(command)

    out, err = capsys.readouterr()
    assert ended == 1
    assert "redis://:***@127.0.0.1" in err
    assert "s3cret" not in err
    assert out == ""


def test_a_check_without_a_gate_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    ended = cli.run(["check", "--account", "a-1"])

    err = " ".join(capsys.readouterr().err.split())
    assert ended == 1
    assert "does not answer" in err
    assert "--state" in err


def test_a_sound_policy_file_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.run(["policy", "show", "-o", "json"])
    shown = json.loads(capsys.readouterr().out)
    from gate.policyfile import default_policy

    file = tmp_path / "policy.toml"
    file.write_text(default_policy()[0])

    ended = cli.run(["policy", "check", str(file), "-o", "json"])

    said = json.loads(capsys.readouterr().out)
    assert ended == 0
    assert (said["valid"], said["hash"], said["complaints"]) == (True, shown["hash"], [])


def test_a_broken_policy_file_is_refused_with_file_and_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "policy.toml"
    file.write_text('version = 1\ndefault_class = "nobody"\n')

    ended = cli.run(["policy", "check", str(file)])

    out, err = capsys.readouterr()
    assert ended == 2
    assert f"{file}:2" in err
    assert out == ""


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    ended = cli.run(["--help"])

    out = capsys.readouterr().out
    assert ended == 0
    assert [name for name in cli.COMMANDS if f"  {name} " not in out] == []


@pytest.mark.parametrize("typed", [(), ("policy",), ("fit",)])
def test_help_cuts_no_summary_short(typed: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    ended = cli.run([*typed, "--help"])

    assert ended == 0
    assert "..." not in capsys.readouterr().out.partition("Commands:")[2]


def test_an_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["pawse"]) == 2
    assert "pawse" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("raised", "code", "says"),
    [
        (UploadGateError("it broke", "mend it"), 1, "error: it broke. Mend it"),
        (UploadGateError("it broke", "deploy/README.md says how"), 1, "error: it broke. deploy/README.md says how"),
        (ValueError("odd"), 1, "UPLOAD_GATE_DEBUG=1"),
        (KeyboardInterrupt(), 2, "cancelled"),
    ],
)
def test_no_traceback_reaches_the_terminal(
    raised: BaseException, code: int, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr("gate.cli.status.resolve_addresses", broken)

    ended = cli.run(["status"])

    err = capsys.readouterr().err
    assert ended == code
    assert says in err
    assert "Traceback" not in err


def test_only_a_typed_yes_confirms(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = []
    for typed in ("y\n", "YES\n", "yep\n", "n\n", ""):
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        answers.append(confirmed("Sure?"))

    assert answers == [True, True, False, False, False]


def test_completion_offers_the_ids_of_pauses_and_nothing_where_no_gate_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_UPLOAD_GATE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "upload-gate release p-")
    monkeypatch.setenv("COMP_CWORD", "2")
    offered = []
    board = {"pauses": [{"id": "p-1"}, {"id": "q-2"}, {"id": "p-3"}]}
    for answer in (lambda *_: board, lambda *_: None):
        monkeypatch.setattr("gate.cli.http_json.get_json", answer)
        cli.run([])
        offered.append(capsys.readouterr().out.split())

    assert offered == [["p-1", "p-3"], []]


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [("y\n", 2, "cancelled; nothing was changed"), ("", 2, "cancelled"), ("platform-wide\n", 1, "cannot be reached")],
)
def test_a_pause_of_the_whole_platform_is_set_only_by_typing_its_scope(
    answer: str, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UPLOAD_GATE_REDIS", f"redis://127.0.0.1:{free_port()}/0")
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))

    ended = cli.run(["pause", "--all", "--reason", "raid"])

    err = " ".join(capsys.readouterr().err.split())
    assert (ended, "Type platform-wide to set it" in err) == (code, True)
    assert said in err


@pytest.mark.parametrize(("flags", "mode"), [((), "dry_run"), (("--enforce",), "enforce")])
def test_a_list_of_accounts_counts_before_it_holds_unless_it_is_enforced_at_once(
    flags: tuple[str, ...],
    mode: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("UPLOAD_GATE_REDIS", f"redis://127.0.0.1:{free_port()}/0")
    (tmp_path / "ids").write_text("a-1\na-2\n\na-1\n")

    ended = cli.run(["pause", "--accounts", str(tmp_path / "ids"), *RAID, *flags, "--dry-run", "-o", "json"])

    out, err = capsys.readouterr()
    shown = json.loads(out)
    assert (ended, shown["mode"], shown["scope"]) == (0, mode, {"accounts": ["a-1", "a-2"]})
    assert ("extend ID --enforce" in err) == (mode == "dry_run")


def test_completion_offers_to_approve_what_waits_for_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_UPLOAD_GATE_COMPLETE", "complete_bash")
    board = {"pauses": [{"id": "p-1"}, {"id": "p-2", "proposal": {"change": "extend"}}],
             "scheduled": [{"id": "p-3", "proposal": {"change": "set"}}, {"id": "p-4"}]}  # fmt: skip
    monkeypatch.setattr("gate.cli.http_json.get_json", lambda *_: board)
    monkeypatch.setenv("COMP_CWORD", "2")
    offered = {}
    for act in ("approve", "release"):
        monkeypatch.setenv("COMP_WORDS", f"upload-gate {act} p")
        cli.run([])
        offered[act] = capsys.readouterr().out.split()

    assert offered == {"approve": ["p-2", "p-3"], "release": ["p-1", "p-2", "p-3", "p-4"]}


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("--class n", ["new"]),
        ("--reason ", ["raid", "legal"]),
        ("--kind im", ["image"]),
        ("--except-class ", ["new", "vip"]),
    ],
)
def test_completion_offers_the_names_of_the_policy_in_force(
    typed: str, offered: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = {"classes": ["new", "vip"], "reasons": ["raid", "legal"], "known": {"kind": ["image", "video"]}}
    monkeypatch.setenv("_UPLOAD_GATE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"upload-gate pause {typed}")
    monkeypatch.setenv("COMP_CWORD", "3")
    found = []
    for answer in (lambda *_: policy, lambda *_: None):
        monkeypatch.setattr("gate.cli.http_json.get_json", answer)
        cli.run([])
        found.append(capsys.readouterr().out.split())

    assert found == [offered, []]


def _accepted(server: socket.socket) -> int:
    """How many connections wait to be accepted."""
    count = 0
    with suppress(BlockingIOError):
        while True:
            server.accept()[0].close()
            count += 1
    return count


@pytest.mark.parametrize("command", [("explain", "a-1"), ("status",), ("release", "p-1"), ("pause", "--all", *RAID)])
def test_a_redis_that_accepts_and_never_answers_is_told_in_a_sentence(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        monkeypatch.setenv("UPLOAD_GATE_REDIS", f"redis://:s3cret@127.0.0.1:{frozen.getsockname()[1]}/0")

        ended = cli.run(command)
        frozen.setblocking(False)
        connections = _accepted(frozen)

    out, err = capsys.readouterr()
    assert ended == 1
    assert connections == 1, "each connection takes a deadline of its own"
    assert "unexpected" not in err
    assert re.search(r"error: .*Redis.*127\.0\.0\.1:\d+", err)
    assert "s3cret" not in err
    assert out == ""


@pytest.mark.parametrize("typed", [("--redis", "redis://h:bad/0"), ("--replay", "/nowhere"), ("--policy", "/nowhere")])
def test_up_refuses_what_it_cannot_use_before_it_starts_anything(
    typed: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = cli.run(["up", *typed, "--state", str(tmp_path / "new")])

    assert ended == 2
    assert not (tmp_path / "new").exists()
    assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "seconds"), [("3s", 3.0), ("1m30s", 90.0), ("60s", 60.0), ("0.5s", 0.5), ("500ms", 0.5)]
)
def test_simulate_takes_spans_of_time_as_pause_does(
    typed: str, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = []

    async def run(options: TrafficOptions, _: object) -> Sent:
        ran.append(options.seconds)
        return Sent()

    monkeypatch.setattr("streams.traffic.run.run", run)

    ended = cli.run(["simulate", "--for", typed, "--kafka", "127.0.0.1:1"])

    assert (ended, ran) == (0, [seconds])


@pytest.mark.parametrize(
    ("sent", "code"), [(Sent(63, 60, 120), 0), (Sent(63, 0, 120), 1), (Sent(63, 60, 0), 1), (Sent(), 0)]
)
def test_simulate_says_what_became_of_the_uploads_and_fails_where_none_arrived(
    sent: Sent, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run(*_: object) -> Sent:
        return sent

    monkeypatch.setattr("streams.traffic.run.run", run)

    ended = cli.run(["simulate", "--for", "3s", "--kafka", "127.0.0.1:1"])

    assert ended == code
    said = f"{sent.uploads} uploads; the gate decided {sent.decided}, Kafka stored {sent.events} events"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("typed", ["soon", "-3s", "0s", "", "1.2.3", "10", "0.5"])
def test_simulate_refuses_what_is_no_span_of_time(typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    ended = cli.run(["simulate", "--for", typed, "--kafka", "127.0.0.1:1"])

    assert ended == 2
    assert "--for" in capsys.readouterr().err


@pytest.mark.parametrize("command", [("status",), ("release", "p-1"), ("explain", "a-1"), ("pause", "--all", *RAID)])
def test_a_password_in_a_urls_query_is_hidden_too(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UPLOAD_GATE_REDIS", f"redis://127.0.0.1:{free_port()}/0?password=s3cret")

    cli.run(command)

    out, err = capsys.readouterr()
    assert "127.0.0.1" in err
    assert "s3cret" not in out + err


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://ann:s3cret@127.0.0.1:6379/0", "redis://ann:***@127.0.0.1:6379/0"),
        ("redis://:s3@cret@[::1]:6379", "redis://:***@[::1]:6379"),
        ("redis://h?db=1&password=s3cret", "redis://h?db=1&password=***"),
        ("redis://h?pass%77ord=s3cret", "redis://h?pass%77ord=***"),
        ("https://h/x?api_key=s3cret&AccessToken=s3cret", "https://h/x?api_key=***&AccessToken=***"),
        ("https://h:not-a-port/?client_secret=s3cret", "https://h:not-a-port/?client_secret=***"),
        ("redis://:s3cret@[::1", "***"),
        ("https://h/?page=2&sort=", "https://h/?page=2&sort="),
    ],
)
def test_of_a_url_everything_is_shown_but_its_secrets(url: str, shown: str) -> None:
    assert redact(url) == shown


def test_a_pause_without_redis_says_that_nothing_was_written_and_names_the_break_glass_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = cli.run(["pause", "--all", *RAID])

    err = capsys.readouterr().err
    assert ended == 1
    assert f"{tmp_path}/break-glass.json on this one" in err
    assert "Nothing was written. Without Redis, repeat it with --direct kafka" in err


@pytest.mark.parametrize("command", [("release", "p-1"), ("pause", "--all", *RAID)])
def test_ctrl_c_while_a_change_is_written_says_where_to_look(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("gate.stores.redis.boards.RedisBoardStore.now_us", interrupted)

    ended = cli.run(command)

    assert ended == 2
    assert "cancelled; it may have been written: look with `upload-gate status --state" in capsys.readouterr().err


def test_a_kind_that_nobody_uses_is_warned_about_and_paused_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    ended = cli.run(["pause", "--kind", "imgae", "--surface", "story", *RAID, "--dry-run"])

    err = capsys.readouterr().err
    assert ended == 0
    assert "warning: imgae is not a usual kind; pausing all the same" in err
    assert "Did you mean image?" in err
    assert "story is not a usual" not in err


def test_simulate_compresses_a_file_whose_name_says_so(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl.gz"

    ended = cli.run(["simulate", "--file", str(file), "--uploads", "3"])

    with gzip.open(file, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    assert (ended, len(rows)) == (0, 3)


def test_a_port_that_is_taken_is_no_usage_error_and_names_the_flag_that_was_typed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        ended = cli.run(["serve", "--port", str(port)])

    assert ended == 1
    assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err


def test_an_unusable_flag_of_serve_is_named_as_it_was_typed(capsys: pytest.CaptureFixture[str]) -> None:
    ended = cli.run(["serve", "--redis", "http://h"])

    err = capsys.readouterr().err
    assert ended == 2
    assert "--redis is unusable" in err
    assert "UPLOAD_GATE_REDIS" not in err


@given(st.text("ab -:/", max_size=300), st.integers(20, 100))
def test_lines_are_broken_between_words_and_lose_none(line: str, width: int) -> None:
    shown = wrapped(line, width)

    assert " ".join(shown).split() == line.split()
    longest = max(map(len, line.split()), default=0)
    assert all(len(one) <= max(width, longest + 2 + len(line) - len(line.lstrip())) for one in shown)


def test_lines_are_not_broken_where_no_terminal_shows_them(capsys: pytest.CaptureFixture[str]) -> None:
    result("word " * 60)

    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.parametrize("typed", [["fit", "captions"], ["--help"]])
def test_a_command_whose_code_was_renamed_since_it_was_installed_says_what_to_do(
    typed: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    installed = EntryPoints([EntryPoint("fit", "streams.no_longer:fit", cli.GROUP)])
    monkeypatch.setattr("importlib.metadata.entry_points", installed.select)

    ended = cli.run(typed)

    err = capsys.readouterr().err
    assert ended == (1 if typed[0] == "fit" else 0)
    assert "No module named 'streams.no_longer'" in err
    assert "make" in err
    assert "No such command" not in err
