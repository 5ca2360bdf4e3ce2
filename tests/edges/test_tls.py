"""TLS on the check port, with certificates of clients in place of tokens."""

from __future__ import annotations

import asyncio
import http.client
import json
import resource
import signal
import socket
import ssl
from pathlib import Path

import pytest

from gate.cli.http_json import get_json
from gate.errors import SettingInvalid, StoreUnavailable
from gate.local.free_port import free_port
from gate.serve.certificates import CertificatesInForce
from gate.serve.hot.edge_limits import EdgeLimits
from gate.serve.server import listening, serving
from gate.settings import TlsFiles, read_settings
from tests.certificates import make_certificates
from tests.edges.running_gate import CHECK, running_gate
from tests.edges.test_serving import a_gate, answer
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two authorities and, of each, a certificate for 127.0.0.1: `ours` and `other`."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def check(port: int, home: Path, certificate: str | None) -> int | str:
    """The status of a check over TLS, or why there is none."""
    context = ssl.create_default_context(cafile=home / "ours-ca.pem")
    if certificate is not None:
        context.load_cert_chain(home / f"{certificate}.pem", home / f"{certificate}.key")
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=context)
    try:
        connection.request("POST", "/v1/check", json.dumps(CHECK), {"content-type": "application/json"})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    finally:
        connection.close()


def variables(home: Path, **more: str) -> dict[str, str]:
    return {
        "UPLOAD_GATE_TLS_CERT": str(home / "ours.pem"), "UPLOAD_GATE_TLS_KEY": str(home / "ours.key"),
        "UPLOAD_GATE_METRICS_PORT": str(free_port()), **more,
    }  # fmt: skip


def test_clients_with_a_certificate_need_no_token_and_others_get_no_connection(
    tmp_path: Path, certificates: Path
) -> None:
    given = variables(
        certificates, UPLOAD_GATE_TLS_CLIENT_CA=str(certificates / "ours-ca.pem"), UPLOAD_GATE_HOST="0.0.0.0"
    )
    metrics = int(given["UPLOAD_GATE_METRICS_PORT"])
    with a_gate(tmp_path, f"redis://127.0.0.1:{free_port()}/0", **given) as (process, port, _):
        wait_until(lambda: answer(metrics, "GET", "/healthz"))
        statuses = [check(port, certificates, name) for name in ("ours", "other", None)]
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=10)

    assert statuses[0] == 200
    assert all(isinstance(status, str) for status in statuses[1:])
    assert "the check port is open to clients with a certificate" in told
    assert "Traceback" not in told


def test_tls_without_client_certificates_asks_for_a_token_beyond_loopback(tmp_path: Path, certificates: Path) -> None:
    with a_gate(
        tmp_path, f"redis://127.0.0.1:{free_port()}/0", **variables(certificates, UPLOAD_GATE_HOST="0.0.0.0")
    ) as (process, _, _):
        _, told = process.communicate(timeout=20)

    assert process.returncode != 0
    assert "holds no token for the check port" in told


def test_settings_of_tls_come_together_and_name_what_is_missing(certificates: Path) -> None:
    given = variables(certificates)

    settings = read_settings(given)

    assert settings.gate == "https://127.0.0.1:8390"
    assert settings.metrics.startswith("http://")
    for missing, named in (("TLS_KEY", "TLS_KEY"), ("TLS_CERT", "TLS_CERT"), ("METRICS_PORT", "METRICS_PORT")):
        less = {name: value for name, value in given.items() if not name.endswith(missing)}
        with pytest.raises(SettingInvalid, match=named):
            read_settings(less)
    with pytest.raises(SettingInvalid, match="TLS_CLIENT_CA is unusable"):
        read_settings({**given, "UPLOAD_GATE_TLS_CLIENT_CA": "/nowhere.pem"})


def test_a_command_says_why_it_gets_no_answer_over_tls_and_what_to_do(
    tmp_path: Path, certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = variables(certificates, UPLOAD_GATE_TLS_CLIENT_CA=str(certificates / "ours-ca.pem"))
    metrics = int(given["UPLOAD_GATE_METRICS_PORT"])

    def told(url: str) -> str:
        with pytest.raises(StoreUnavailable) as caught:
            get_json(url, 5.0, "ugt_token")
        return str(caught.value)

    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with a_gate(tmp_path, f"redis://127.0.0.1:{free_port()}/0", **given) as (_, port, _):
        wait_until(lambda: answer(metrics, "GET", "/healthz"))
        untrusted = told(f"https://127.0.0.1:{port}/v1/check")
        plain = told(f"http://127.0.0.1:{port}/v1/check")
        no_tls = told(f"https://127.0.0.1:{metrics}/healthz")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "ours-ca.pem"))
        without_certificate = told(f"https://127.0.0.1:{port}/v1/check")

    assert "its certificate is not trusted here" in untrusted
    assert "SSL_CERT_FILE" in untrusted
    assert "with https:// if the gate has a certificate" in plain
    assert "it does not speak TLS. Write http://" in no_tls
    assert "commands send none" in without_certificate
    assert not any("token" in text or "_ssl.c" in text for text in (untrusted, plain, no_tls, without_certificate))


async def issuer_at(port: int, authority: Path) -> str:
    """The authority of the certificate that the port shows to one who trusts `authority`; empty where that is another one."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=ssl.create_default_context(cafile=authority))
    except ssl.SSLCertVerificationError:
        return ""
    shown = writer.get_extra_info("peercert")["issuer"]
    writer.close()
    await writer.wait_closed()
    return str(shown[0][0][1])


async def test_a_renewed_certificate_is_in_force_without_a_restart_and_a_half_renewed_one_is_not(
    tmp_path: Path, certificates: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def write(cert: str, key: str) -> None:
        for ending, name in (("pem", cert), ("key", key)):
            (tmp_path / f"own.{ending}").write_bytes((certificates / f"{name}.{ending}").read_bytes())

    write("ours", "ours")
    in_force = CertificatesInForce(TlsFiles(tmp_path / "own.pem", tmp_path / "own.key", None))
    ours, other = (certificates / f"{name}-ca.pem" for name in ("ours", "other"))
    caplog.set_level("INFO", "upload_gate.tls")
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=in_force.context) as server:
        port = server.sockets[0].getsockname()[1]
        issuers = [await issuer_at(port, ours)]
        for cert, key in (("other", "ours"), ("other", "other")):
            write(cert, key)
            for _ in range(2):
                await in_force.look()
            issuers += [await issuer_at(port, ours), await issuer_at(port, other)]

    assert issuers == ["ours", "ours", "", "", "other"]
    assert [record.getMessage().split(",")[0].split(" of ")[0] for record in caplog.records] == [
        "the changed certificates cannot be used",
        "the changed certificates",
    ]


async def test_renewed_files_that_the_gate_could_not_read_at_first_are_in_force_once_it_can(
    tmp_path: Path, certificates: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, ending in (("ours", "pem"), ("ours", "key")):
        (tmp_path / f"own.{ending}").write_bytes((certificates / f"{name}.{ending}").read_bytes())
    in_force = CertificatesInForce(TlsFiles(tmp_path / "own.pem", tmp_path / "own.key", None))
    await in_force.look()
    for ending in ("pem", "key"):
        (tmp_path / f"own.{ending}").write_bytes((certificates / f"other.{ending}").read_bytes())
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))  # as a mode of 0600 of another user: no file opens
        for _ in range(4):
            await in_force.look()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    refused = [record.getMessage() for record in caplog.records]
    caplog.set_level("INFO", "upload_gate.tls")
    await in_force.look()

    assert [text.partition(":")[0] for text in refused] == [
        "the changed certificates cannot be used, the earlier ones stay in force"
    ]
    assert caplog.records[-1].getMessage() == f"the changed certificates of {tmp_path / 'own.pem'} are in force"


async def test_clients_are_asked_for_certificates_of_the_renewed_authorities(
    tmp_path: Path, certificates: Path
) -> None:
    authorities = tmp_path / "clients.pem"
    authorities.write_bytes((certificates / "ours-ca.pem").read_bytes())
    in_force = CertificatesInForce(TlsFiles(certificates / "ours.pem", certificates / "ours.key", authorities))

    async def lets_in(port: int, name: str) -> bool:
        client = ssl.create_default_context(cafile=certificates / "ours-ca.pem")
        client.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
            told = await reader.read(1)
        except (ssl.SSLError, ConnectionError):
            return False
        writer.close()
        return told == b"."

    def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b".")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0, ssl=in_force.context) as server:
        port = server.sockets[0].getsockname()[1]
        before = [await lets_in(port, name) for name in ("ours", "other")]
        authorities.write_bytes((certificates / "other-ca.pem").read_bytes())
        for _ in range(2):
            await in_force.look()
        after = [await lets_in(port, name) for name in ("ours", "other")]

    assert (before, after) == ([True, False], [False, True])


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_client_of_an_authority_that_was_taken_out_cannot_resume_its_session(
    tmp_path: Path, certificates: Path, version: ssl.TLSVersion
) -> None:
    authorities = tmp_path / "clients.pem"
    authorities.write_bytes((certificates / "ours-ca.pem").read_bytes())
    in_force = CertificatesInForce(TlsFiles(certificates / "ours.pem", certificates / "ours.key", authorities))
    client = ssl.create_default_context(cafile=certificates / "ours-ca.pem")
    client.load_cert_chain(certificates / "ours.pem", certificates / "ours.key")
    client.maximum_version = version

    def greeted(port: int, session: ssl.SSLSession | None) -> tuple[bytes, ssl.SSLSession | None]:
        with socket.create_connection(("127.0.0.1", port), 5) as plain:
            try:
                with client.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as connection:
                    return connection.recv(1), connection.session
            except (ssl.SSLError, ConnectionError):
                return b"", None

    def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b".")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0, ssl=in_force.context) as server:
        port = server.sockets[0].getsockname()[1]
        before, session = await asyncio.to_thread(greeted, port, None)
        authorities.write_bytes((certificates / "other-ca.pem").read_bytes())
        for _ in range(2):
            await in_force.look()
        after, _ = await asyncio.to_thread(greeted, port, session)

    assert (before, after) == (b".", b"")


async def test_a_client_that_begins_no_handshake_is_not_kept_for_longer_than_a_request(
    tmp_path: Path, certificates: Path
) -> None:
    files = TlsFiles(certificates / "ours.pem", certificates / "ours.key", None)
    async with running_gate(tmp_path) as gate:
        with listening("127.0.0.1", 0, "PORT") as port:
            async with serving(gate.app, port, EdgeLimits(request_s=0.05), files), asyncio.timeout(30):
                reader, writer = await asyncio.open_connection(*port.getsockname())
                ended = await reader.read()
                writer.close()

    assert ended == b""


async def test_a_key_of_another_certificate_is_named_with_both_files(certificates: Path) -> None:
    files = TlsFiles(certificates / "ours.pem", certificates / "other.key", None)

    said = r"the key of UPLOAD_GATE_TLS_KEY \(.*other\.key\) does not belong to the certificate of .* \(.*ours\.pem\)"
    with listening("127.0.0.1", 0, "PORT") as port, pytest.raises(SettingInvalid, match=said):
        async with serving(None, port, tls=files):
            raise AssertionError


async def test_files_that_are_not_certificates_are_named(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate")

    with listening("127.0.0.1", 0, "PORT") as port, pytest.raises(SettingInvalid, match="cannot be used"):
        async with serving(None, port, tls=TlsFiles(wrong, wrong, None)):
            raise AssertionError
