"""The OpenAPI document: the checked-in one is current, it names every route, and its records are real."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from starlette.routing import Route

from gate.core.decision import Verdict
from gate.serve.admin.app import AdminApp
from gate.serve.openapi import FILE, OPERATIONS, Operation, Port, openapi
from gate.serve.problems import ALL_REASONS
from tests.edges.running_gate import CHECK, ask, running_gate

DOCUMENT = json.loads(openapi())
TRIAL = b'version = 1\ndefault_class = "a"\n[classes.a]\n'


def validator(operation: Operation, status: int) -> jsonschema.Draft202012Validator:
    response = DOCUMENT["paths"][operation.path][operation.method]["responses"][str(status)]
    (content,) = response["content"].values()
    return jsonschema.Draft202012Validator({**content["schema"], "components": DOCUMENT["components"]})


def operation(method: str, path: str) -> Operation:
    return next(each for each in OPERATIONS if (each.method, each.path) == (method, path))


def test_the_document_in_the_configuration_is_the_one_that_is_generated() -> None:
    assert (Path(__file__).parents[2] / "config" / "schemas" / FILE).read_bytes() == openapi()


def test_every_schema_of_the_document_is_one_and_every_reference_leads_somewhere() -> None:
    schemas = DOCUMENT["components"]["schemas"]

    def references(value: Any) -> set[str]:
        if isinstance(value, dict):
            own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
            return own.union(*map(references, value.values()))
        return set().union(*map(references, value)) if isinstance(value, list) else set()

    assert {f"#/components/schemas/{name}" for name in schemas} >= references(DOCUMENT)
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    ids = [each["operationId"] for path in DOCUMENT["paths"].values() for each in path.values()]
    assert len(ids) == len(set(ids))


async def test_the_document_names_the_routes_of_the_apps_and_no_others(tmp_path: Path) -> None:
    async with running_gate(tmp_path, takes_reports=True) as gate:
        paths = {port: {each.path for each in OPERATIONS if each.port is port} for port in Port}
        app = gate.admin_app

        assert set(gate.app.paths) == paths[Port.CHECK] | paths[Port.PAGES]
        routes = {
            (method.lower(), route.path)
            for route in app.routes
            if isinstance(route, Route)
            for method in (route.methods or ()) - {"HEAD"}
        }
        assert isinstance(app, AdminApp)
        assert routes == {(each.method, each.path) for each in OPERATIONS if each.port is Port.ADMIN}


async def test_the_answers_of_a_real_gate_are_those_of_the_document(tmp_path: Path) -> None:
    apart = ("/v1/policy/trial", "/v1/board/events")
    pages = [each for each in OPERATIONS if each.method == "get" and each.path not in apart]
    report = {"account": {"id": "a-1"}, "upload_id": CHECK["upload_id"], "outcome": "committed", "bytes": 1}
    async with running_gate(tmp_path, takes_reports=True) as gate:
        toml = {"content-type": "application/toml"}
        begun = await ask(gate.admin_port, "POST", "/v1/policy/trial", TRIAL, toml)
        answers = [
            (operation("post", "/v1/policy/trial"), begun),
            (operation("post", "/v1/check"), await gate.post("/v1/check", {**CHECK, "ip": "nonsense"})),
            (operation("post", "/v1/reports"), await gate.post("/v1/reports", report)),
            (operation("post", "/v1/reports"), await gate.post("/v1/reports", {"reports": [report]})),
            (operation("post", "/v1/peek"), await gate.post("/v1/peek", CHECK)),
            (operation("post", "/v1/checks"), await gate.post("/v1/checks", {"checks": [CHECK]})),
            (operation("get", "/v1/policy/trial"), await gate.get("/v1/policy/trial", admin=True)),
        ]
        answers += [(each, await gate.get(each.path, admin=each.port is Port.ADMIN)) for each in pages]
        served = await gate.get("/openapi.json", admin=True)

    for each, reply in answers:
        assert reply.status == each.status, each
        assert reply.headers["content-type"].partition(";")[0] == each.gives[0]
        if each.gives[0].endswith("json"):
            validator(each, each.status).validate(reply.json)
    assert served.body == openapi()


@pytest.mark.parametrize("body", [b"{", b'{"upload_id":"u"}', b'{"upload_id":""}', b"x" * 70_000])
async def test_what_is_refused_is_a_documented_problem(tmp_path: Path, body: bytes) -> None:
    async with running_gate(tmp_path) as gate:
        reply = await gate.post("/v1/check", body)

    validator(operation("post", "/v1/check"), reply.status).validate(reply.json)


def test_decisions_and_reasons_are_closed_lists() -> None:
    schemas = DOCUMENT["components"]["schemas"]

    assert schemas["Decision"]["properties"]["decision"]["enum"] == [verdict.value for verdict in Verdict]
    assert "ignored" not in schemas["Decision"]["required"]
    assert set(schemas["Problem"]["properties"]["reason"]["enum"]) == ALL_REASONS
