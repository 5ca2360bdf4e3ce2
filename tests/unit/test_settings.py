"""Settings: defaults, complaints that name the variable, and secrets that stay out of what is printed."""

import pytest

from gate.cli.addresses import resolve_addresses
from gate.errors import SettingInvalid
from gate.settings import DOCUMENTED, PREFIX, is_loopback, read_settings


def test_an_empty_environment_gives_the_default_ports() -> None:
    settings = read_settings({})

    assert (settings.port, settings.admin_port, settings.kafka) == (8390, 8391, None)
    assert settings.gate == "http://127.0.0.1:8390"
    assert settings.salt_is_default


def test_gates_on_two_machines_are_two_though_both_listen_on_all_interfaces() -> None:
    listening = {"UPLOAD_GATE_HOST": "0.0.0.0"}

    left, right = read_settings(listening, lambda: "host-a"), read_settings(listening, lambda: "host-b")

    assert (left.name, left.gate) == ("host-a:8390", "http://host-a:8390")
    assert (right.name, right.gate) == ("host-b:8390", "http://host-b:8390")


def test_a_gate_on_loopback_is_named_by_its_machine_and_reached_by_loopback() -> None:
    settings = read_settings({}, machine=lambda: "host a.example")

    assert (settings.name, settings.gate) == ("host-a.example:8390", "http://127.0.0.1:8390")


def test_secrets_are_neither_in_repr_nor_in_what_is_shown() -> None:
    settings = read_settings({"UPLOAD_GATE_REDIS": "redis://u:hunter2@h:1/0", "UPLOAD_GATE_SALT": "pepper"})

    assert "hunter2" not in repr(settings) + settings.redis_shown
    assert "pepper" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "eighty"),
        ("PORT", "٣"),
        ("ADMIN_PORT", "8390"),
        ("METRICS_PORT", "8391"),
        ("METRICS_PORT", "x"),
        ("ADMIN_HOST", "a b"),
        ("MAX_CONNECTIONS", "0"),
        ("REQUEST_TIMEOUT", "1s"),
        ("HOST", "a b"),
        ("GATE", "127.0.0.1:8390"),
        ("REDIS", "http://h"),
        ("REDIS", "redis://"),
        ("REDIS", "redis://h:port"),
        ("REDIS", "redis+cluster://h,"),
        ("REDIS", "redis+cluster://h:1,h:port"),
        ("REDIS", "redis+cluster://h/1"),
        ("REDIS", "redis+sentinel://h"),
        ("REDIS", "redis+proxy://h"),
        ("KAFKA", "h"),
        ("KAFKA", "h:1,i"),
        ("PREFIX", "a{b}"),
        ("TOPIC_PREFIX", "a b"),
        ("NAME", "a b"),
    ],
)
def test_an_unusable_value_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(SettingInvalid, match=PREFIX + name):
        read_settings({PREFIX + name: value})


def test_a_complaint_about_redis_does_not_show_its_password() -> None:
    with pytest.raises(SettingInvalid) as found:
        read_settings({"UPLOAD_GATE_REDIS": "redis://u:hunter2@h:port"})

    assert "hunter2" not in str(found.value)


def test_every_variable_is_documented() -> None:
    asked: set[str] = set()

    class Asking(dict[str, str]):
        def get(self, key: str, default: object = None) -> None:  # type: ignore[override]
            asked.add(key)

    read_settings(Asking())

    assert {name.removeprefix(PREFIX) for name in asked if name.startswith(PREFIX)} == set(DOCUMENTED)


@pytest.mark.parametrize(
    ("environment", "port", "url"),
    [
        ({}, None, "http://127.0.0.1:8390"),
        ({"METRICS_PORT": "9100"}, 9100, "http://127.0.0.1:9100"),
        ({"HOST": "10.0.0.5"}, 8393, "http://10.0.0.5:8393"),
        ({"HOST": "0.0.0.0", "METRICS_HOST": "::1"}, 8393, "http://[::1]:8393"),
        ({"HOST": "0.0.0.0"}, 8393, "http://host-a:8393"),
    ],
)
def test_metrics_and_health_have_a_port_of_their_own_where_checks_are_open_to_others(
    environment: dict[str, str], port: int | None, url: str
) -> None:
    settings = read_settings({f"{PREFIX}{name}": value for name, value in environment.items()}, lambda: "host-a")

    assert (settings.metrics_port, settings.metrics) == (port, url)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://fd00::1:8390", "http://[fd00::1]:8390"),
        ("http://fd00:1:2:3:4:5:6:7:8390/gate/", "http://[fd00:1:2:3:4:5:6:7]:8390/gate"),
        ("http://fd00::a", "http://[fd00::a]"),
        ("http://[fd00::1]:8390", "http://[fd00::1]:8390"),
        ("http://10.0.0.5:8390", "http://10.0.0.5:8390"),
    ],
)
def test_the_address_of_a_pod_needs_no_brackets(given: str, url: str) -> None:
    assert read_settings({f"{PREFIX}GATE": given, f"{PREFIX}ADMIN": given}).gate == url
    assert resolve_addresses(environ={f"{PREFIX}GATE": given}).gate == url


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
        ("10.0.0.1", False), ("127.example", False), ("1127.0.0.1", False),
    ],
)  # fmt: skip
def test_loopback_is_known(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    "url",
    ["rediss://u:p@h:1/0", "redis+sentinel://a:1,b/uploads/2", "redis+cluster://u:p@a:1,[::1]:2", "unix:///run/r.sock"],
)
def test_redis_may_be_one_server_a_master_with_sentinels_or_a_cluster(url: str) -> None:
    assert read_settings({"UPLOAD_GATE_REDIS": url}).redis == url
