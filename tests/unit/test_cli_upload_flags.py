"""The options of `check` and `peek`: one for each field of a check, and each arrives in its field of the body."""

from __future__ import annotations

import json
from typing import Any

import pytest
import typer

from gate.cli import check, peek
from gate.cli import main as cli
from gate.cli.upload_flags import names_of
from gate.core.fields.rules import BY_SUBJECT, FieldKind, MessageType, Rule
from gate.records.check import decode_check

RULES = BY_SUBJECT[MessageType.CHECK]
DECISION = {"decision": "allow", "stage": "default", "reason": "allow"}
NOW_US = 1_795_000_000_000_000
VALUES = {
    FieldKind.COUNTRY: "DE", FieldKind.ADDRESS: "203.0.113.9", FieldKind.SIZE: "7",
    FieldKind.CREATION: "2026-11-10T08:00:00Z", FieldKind.LINKS: "https://a.example/x",
}  # fmt: skip


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The bodies that the commands send; the gate lets each upload in."""
    bodies: list[dict[str, Any]] = []

    def answer(addresses: object, path: str, body: dict[str, Any]) -> dict[str, Any]:
        bodies.append(json.loads(json.dumps(body)))
        return {"decision": DECISION, "limits": []} if path == "/v1/peek" else dict(DECISION)

    for module in (check, peek):
        monkeypatch.setattr(module, "answer_of", answer)
        monkeypatch.setattr(module, "check_notes", lambda *_: [])
    return bodies


def option_of(rule: Rule) -> list[str]:
    name = names_of(rule)[0]
    return [name] if rule.kind is FieldKind.FLAG else [name, VALUES.get(rule.kind, "a-1")]


@pytest.mark.parametrize("command", ["check", "peek"])
def test_a_command_has_one_option_for_each_field_of_a_check_and_a_help_for_each(command: str) -> None:
    parameters = typer.main.get_command(cli.build([])).commands[command].params  # type: ignore[attr-defined]
    own = [each for each in parameters if not {"--output", "--state", "--gate"} & set(each.opts)]

    assert sorted(each.opts[0] if each.opts[0] != "-c" else "--class" for each in own) == sorted(
        names_of(rule)[0] for rule in RULES
    )
    assert all(each.help for each in own)
    assert len({each.help for each in own}) == len(RULES)


@pytest.mark.parametrize("command", ["check", "peek"])
def test_every_field_arrives_in_its_place_and_keeps_its_rule(command: str, sent: list[dict[str, Any]]) -> None:
    ended = cli.run([command, *(word for rule in RULES for word in option_of(rule)), "-o", "json"])

    (body,) = sent
    places = {f"{part}.{name}" for part in ("account", "media") for name in body.pop(part)} | set(body)
    assert ended == 0
    assert places == {rule.name for rule in RULES}
    cli.run([command, *(word for rule in RULES for word in option_of(rule))])
    request, ignored = decode_check(json.dumps(sent[1]).encode(), NOW_US)
    assert ignored == {}
    assert (request.account.verified, request.media.bytes, request.links) == (True, 7, ("https://a.example/x",))


def test_what_is_not_typed_is_not_sent(sent: list[dict[str, Any]]) -> None:
    cli.run(["peek", "--account", "a-17", "--unverified", "--link", "x", "--link", "y"])

    assert sent == [
        {
            "upload_id": "peek",
            "account": {"id": "a-17", "verified": False},
            "media": {"kind": "image"},
            "links": ["x", "y"],
        }
    ]


def test_each_check_is_of_an_upload_of_its_own(sent: list[dict[str, Any]]) -> None:
    for _ in range(2):
        cli.run(["check", "--account", "a-17"])

    assert sent[0]["upload_id"] != sent[1]["upload_id"]
