"""Who may ask: tokens on both ports of a real gate, their rotation, and that no token reaches a log, a repr or a file."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.cli import main as cli
from gate.core.service_token import MOST_OF_A_NAME, TOKEN_BYTES, Access, ServiceToken, token_digest
from gate.errors import RequestRejected, SettingInvalid, StateUnreadable
from gate.local.free_port import free_port
from gate.records.tokens_document import decode_tokens, encode_tokens
from gate.serve.service_tokens import ServiceTokens, TokensInForce
from gate.stores.disk.tokens import TokenFile
from tests.edges.running_gate import CHECK
from tests.edges.test_serving import a_gate
from tests.waiting import wait_until


def new(file: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    """A new token, as the command prints it."""
    assert cli.run(["token", "new", "--file", str(file), *more]) == 0
    return capsys.readouterr().out.strip()


def call(
    port: int, method: str, path: str, token: str | None, body: object = None
) -> tuple[int, dict[str, str], bytes] | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    headers = {"content-type": "application/json"} | ({} if token is None else {"authorization": f"Bearer {token}"})
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    except OSError:
        return None
    finally:
        connection.close()


def status(port: int, token: str | None, path: str = "/v1/check", method: str = "POST") -> int | None:
    answer = call(port, method, path, token, CHECK if method == "POST" else None)
    return None if answer is None else answer[0]


def told(process: subprocess.Popen[str]) -> str:
    process.send_signal(signal.SIGTERM)
    return process.communicate(timeout=10)[1]


def test_a_gate_with_tokens_answers_their_holders_and_rotation_needs_no_restart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tokens.json"
    first, admin = new(file, capsys, "media-api"), new(file, capsys, "ops", "--admin")
    with a_gate(tmp_path, f"redis://127.0.0.1:{free_port()}/0") as (process, port, admin_port):
        wait_until(lambda: status(port, None, "/healthz", "GET"))
        before = [status(port, token) for token in (None, "wrong", admin, first)]
        refused = call(port, "POST", "/v1/check", None, CHECK)
        admins = [status(admin_port, token, "/v1/policy", "GET") for token in (None, first, admin)]
        second = new(file, capsys, "media-api")
        wait_until(lambda: status(port, second) == 200)
        both = [status(port, token) for token in (first, second)]
        cli.run(["token", "revoke", token_digest(first.encode()).hex()[:8], "--file", str(file)])
        wait_until(lambda: status(port, first) == 401)
        after = status(port, second)
        log = told(process)

    assert before == [401, 401, 401, 200]
    assert (both, after, admins) == ([200, 200], 200, [401, 401, 200])
    assert refused is not None
    assert refused[1]["www-authenticate"] == 'Bearer realm="upload-gate"'
    assert json.loads(refused[2])["reason"] == "token.missing"
    assert "the tokens of the check port have changed, it is open to media-api" in log
    held = log + capsys.readouterr().out + file.read_text()
    assert not any(token.removeprefix("ugt_")[:20] in held for token in (first, second, admin))


def test_commands_take_their_tokens_from_the_environment_and_say_so_where_they_lack_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tokens.json"
    check, admin = new(file, capsys, "media-api"), new(file, capsys, "ops", "--admin")
    with a_gate(tmp_path, f"redis://127.0.0.1:{free_port()}/0") as (_, port, admin_port):
        wait_until(lambda: status(port, None, "/healthz", "GET"))
        commands = (
            ["check", "--account", "a", "--gate", f"http://127.0.0.1:{port}"],
            ["policy", "dump", "--admin", f"http://127.0.0.1:{admin_port}"],
        )
        without = [cli.run(command) for command in commands]
        said = capsys.readouterr().err
        monkeypatch.setenv("UPLOAD_GATE_TOKEN", check)
        monkeypatch.setenv("UPLOAD_GATE_ADMIN_TOKEN", admin)
        within = [cli.run(command) for command in commands]
        monkeypatch.setenv("UPLOAD_GATE_TOKEN", "a\nb: c")
        spoilt = cli.run(commands[0])
        told = capsys.readouterr().err

    assert (without, within, spoilt) == ([2, 2], [0, 0], 1)
    assert said.count("Here: set UPLOAD_GATE_TOKEN for the check port") == 2
    assert "the token in the environment cannot be a header value" in told
    assert "a\nb" not in told


def test_a_gate_on_loopback_without_tokens_says_that_it_asks_nobody(tmp_path: Path) -> None:
    with a_gate(tmp_path, f"redis://127.0.0.1:{free_port()}/0") as (process, port, _):
        wait_until(lambda: status(port, None, "/healthz", "GET"))
        open_to_all = status(port, None)
        log = told(process)

    assert open_to_all == 200
    assert "the check port asks nobody for a token, as it is on loopback (127.0.0.1)" in log
    assert "the admin port asks nobody for a token" in log


@pytest.mark.parametrize(("variable", "access"), [("UPLOAD_GATE_HOST", "check"), ("UPLOAD_GATE_ADMIN_HOST", "admin")])
def test_a_port_beyond_loopback_does_not_open_without_a_token(tmp_path: Path, variable: str, access: str) -> None:
    with a_gate(tmp_path, f"redis://127.0.0.1:{free_port()}/0", **{variable: "0.0.0.0"}) as (process, port, _):
        _, log = process.communicate(timeout=20)

    assert process.returncode != 0
    assert (
        f"{variable} is 0.0.0.0, beyond loopback, and {tmp_path / 'tokens.json'} holds no token for the {access} port"
        in log
    )
    assert "upload-gate token new NAME" in log
    assert status(port, None) is None


def test_beyond_loopback_health_has_a_port_of_its_own_and_every_check_needs_a_token(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token, metrics = new(tmp_path / "tokens.json", capsys, "media-api"), free_port()
    beyond = {"UPLOAD_GATE_HOST": "0.0.0.0", "UPLOAD_GATE_METRICS_PORT": str(metrics)}
    with a_gate(tmp_path, f"redis://127.0.0.1:{free_port()}/0", **beyond) as (_, port, _):
        wait_until(lambda: status(metrics, None, "/healthz", "GET"))
        pages = [status(metrics, None, page, "GET") for page in ("/metrics", "/healthz", "/readyz")]
        hidden = [status(port, token, page, "GET") for page in ("/metrics", "/healthz", "/readyz")]
        checks = [status(port, None), status(port, token), status(metrics, token)]
        cli.run(["token", "revoke", "media-api", "--file", str(tmp_path / "tokens.json")])
        wait_until(lambda: status(port, token) == 401)

    assert (pages, hidden, checks) == ([200] * 3, [404] * 3, [401, 200, 404])


def test_two_tokens_of_a_name_are_valid_at_once_and_a_third_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tokens.json"
    made = [new(file, capsys, "media-api") for _ in range(MOST_OF_A_NAME)]

    third = cli.run(["token", "new", "media-api", "--file", str(file)])
    said = capsys.readouterr().err
    listed = cli.run(["token", "list", "--file", str(file), "-o", "json"])
    entries = json.loads(capsys.readouterr().out)["tokens"]

    ids = [token_digest(token.encode()).hex()[:8] for token in made]
    assert (third, listed) == (3, 0)
    assert f"revoke the older one first: upload-gate token revoke {ids[0]}" in said.replace("Revoke", "revoke")
    assert [entry["id"] for entry in entries] == ids
    assert all(re.fullmatch(r"ugt_[A-Za-z0-9_-]{43}", token) for token in made)
    assert TOKEN_BYTES * 8 == 256


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("new", "Media API"), 2, "cannot name a token"),
        (("revoke", "nobody"), 2, "no token has the id or name nobody"),
        (("list",), 0, "holds no token"),
    ],
)
def test_commands_say_what_is_amiss(
    arguments: tuple[str, ...], code: int, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["token", *arguments, "--file", str(tmp_path / "t.json")]) == code
    assert says in capsys.readouterr().err


def test_a_file_that_is_gone_or_broken_keeps_the_valid_tokens_valid_and_stops_a_start(tmp_path: Path) -> None:
    file, said = tmp_path / "tokens.json", list[str]()
    token = ServiceToken("a", Access.CHECK, token_digest(b"t"), 1)
    TokenFile(file).change(lambda tokens: (token,))
    check, admin = ServiceTokens(Access.CHECK, False), ServiceTokens(Access.ADMIN, False)
    tokens = TokensInForce(TokenFile(file), check, admin, said.append)
    tokens.start()

    for content in (None, b"{", b'{"version":2,"tokens":[]}'):
        file.unlink(missing_ok=True)
        if content is not None:
            file.write_bytes(content)
        tokens._use(tokens._read())
        assert check.admit([(b"authorization", b"bearer t")]) == "a"

    assert len(said) == 3
    with pytest.raises(SettingInvalid, match=r"tokens\.json"):
        TokensInForce(TokenFile(file), check, admin, said.append).start()


@pytest.mark.parametrize(
    "value", [b"", b"Bearer", b"Bearer ", b"Basic t", b"Bearer x", b"bearertoken", b"Bearer " + b"t" * 300]
)
def test_no_other_header_value_is_admitted(value: bytes) -> None:
    port = ServiceTokens(Access.CHECK, True)
    port.use(
        [ServiceToken("a", Access.CHECK, token_digest(b"t"), 1), ServiceToken("b", Access.ADMIN, token_digest(b"x"), 1)]
    )

    with pytest.raises(RequestRejected, match="token"):
        port.admit([(b"host", b"h"), (b"authorization", value)])


entries = st.builds(
    ServiceToken,
    st.from_regex("[a-z0-9][a-z0-9._-]{0,8}", fullmatch=True),
    st.sampled_from(Access),
    st.binary(min_size=32, max_size=32),
    st.integers(0, 1 << 53),
)


@given(st.lists(entries, max_size=5, unique_by=(lambda each: each.name, lambda each: each.digest)))
def test_tokens_read_back_as_they_were_written(tokens: list[ServiceToken]) -> None:
    assert decode_tokens(encode_tokens(tokens)) == tuple(tokens)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d | {"version": 9},
        lambda d: d | {"tokens": d["tokens"] * 2},
        lambda d: d | {"tokens": [d["tokens"][0] | {"name": "A"}]},
        lambda d: d | {"tokens": [d["tokens"][0] | {"sha256": "00"}]},
        lambda d: d | {"tokens": [d["tokens"][0] | {"access": "root"}]},
        lambda d: d | {"tokens": [d["tokens"][0] | {"sha256": f"{n:064x}"} for n in range(3)]},
    ],
)  # type: ignore[misc]
def test_a_file_with_a_mistake_holds_no_valid_token(change: object) -> None:
    document = json.loads(encode_tokens([ServiceToken("a", Access.CHECK, bytes(32), 1)]))

    with pytest.raises(StateUnreadable):
        decode_tokens(json.dumps(change(document)).encode())  # type: ignore[operator]


def test_neither_the_record_nor_the_port_shows_a_hash() -> None:
    token = ServiceToken("a", Access.CHECK, token_digest(b"t"), 1)
    port = ServiceTokens(Access.CHECK, True)
    port.use([token])

    shown = f"{token!r}{port!r}{port.names}"

    assert token_digest(b"t").hex() not in shown
    assert repr(token_digest(b"t")) not in shown


def test_revoking_the_last_token_opens_no_port(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "tokens.json"
    said: list[str] = []
    token = new(file, capsys, "media-api")
    checks, admin = (ServiceTokens(access, always=False) for access in (Access.CHECK, Access.ADMIN))
    tokens = TokensInForce(TokenFile(file), checks, admin, said.append)
    tokens.start()

    code = cli.run(["token", "revoke", "media-api", "--file", str(file)])
    tokens._use(tokens._read())

    assert code == 0
    assert "no token is left for the check port" in " ".join(capsys.readouterr().err.split())
    assert [checks.required, admin.required] == [True, False]
    with pytest.raises(RequestRejected):
        checks.admit(((b"authorization", b"Bearer " + token.encode()),))
    assert [line.rpartition("open to ")[2] for line in said] == ["nobody", "everyone on this host"]
