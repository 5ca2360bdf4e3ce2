"""Kinds, surfaces and countries that the policy lists: compared without case, and counted when they are not listed."""

from pathlib import Path

import pytest

from gate.core.account import Account
from gate.core.media import Media
from gate.core.policy import ANY_VALUE, KnownValues
from gate.core.request import CheckRequest
from gate.policyfile import check_policy
from tests.edges.running_gate import CHECK, running_gate

KNOWN = KnownValues(frozenset(["image", "x-*"]), frozenset(["*"]), frozenset(["DE", "A*"]))


@pytest.mark.parametrize(
    ("kind", "surface", "country", "unlisted"),
    [
        ("image", None, None, ()), ("x-scan", "post", "DE", ()), ("x-", "anything", "AT", ()),
        ("imgae", None, None, ("kind",)), ("x", "post", "FR", ("kind", "country")), ("video\nimage", None, None, ("kind",)),
        ("image", "post", "DEE", ("country",)),
    ],
)  # fmt: skip
def test_a_value_is_listed_by_itself_or_by_a_pattern(
    kind: str, surface: str | None, country: str | None, unlisted: tuple[str, ...]
) -> None:
    request = CheckRequest("u", Account("a"), Media(kind), surface=surface, country=country)

    assert KNOWN.unlisted(request) == unlisted
    assert ANY_VALUE.unlisted(request) == ()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('kinds = ["Image"]', "'Image' would match nothing, as it is compared as 'image'; write that"),
        ('countries = ["de"]', "'de' would match nothing, as it is compared as 'DE'; write that"),
        ('surfaces = "post"', "must be a list"),
        ('kind = ["image"]', "unknown key; did you mean 'kinds'?"),
    ],
)
def test_a_list_that_could_match_nothing_is_a_complaint(line: str, told: str) -> None:
    text = f'version = 1\ndefault_class = "a"\n[classes.a]\n[known]\n{line}\n'

    _, found = check_policy(text, "p.toml")

    assert [(each.line, told in str(each)) for each in found] == [(5, True)]


async def test_what_the_policy_does_not_list_is_counted_by_field_and_still_decided(tmp_path: Path) -> None:
    async with running_gate(tmp_path) as gate:
        plain = await gate.post("/v1/check", {**CHECK, "media": {"kind": "IMAGE "}, "surface": "Post"})
        other = await gate.post(
            "/v1/check", {**CHECK, "upload_id": "u-2", "media": {"kind": "imgae"}, "surface": "wall"}
        )
        batch = await gate.post("/v1/checks", {"checks": [{**CHECK, "upload_id": "u-3", "media": {"kind": "scan"}}]})
        page = (await gate.get("/metrics")).body.decode()

    assert [plain.json["decision"], other.json["decision"]] == ["allow", "allow"]
    assert batch.status == 200
    assert "ignored" not in other.json
    assert 'upload_gate_unlisted_values_total{field="kind"} 2.0' in page
    assert 'upload_gate_unlisted_values_total{field="surface"} 1.0' in page
    assert 'upload_gate_unlisted_values_total{field="country"} 0.0' in page
