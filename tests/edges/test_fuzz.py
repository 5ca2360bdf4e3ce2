"""Generated requests, by the OpenAPI document: they meet no fault, and nothing that is not documented."""

import pytest

pytestmark = pytest.mark.long

pytest.importorskip("schemathesis", reason="schemathesis, a test dependency, is not installed")

CASES = 2_000


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_thousand_generated_requests_meet_no_fault_and_nothing_undocumented() -> None:
    from tests.edges.fuzz import run_cases

    caller = run_cases(CASES, 0, lambda line: None)

    assert caller.cases >= CASES
    assert caller.problems == []
    assert {status for _, _, status in caller.statuses} >= {200, 201, 400, 413}
