"""How `campaigns list` shows a campaign, and which kinds it takes."""

from __future__ import annotations

import pytest

from gate.cli import main as cli
from streams.cli.campaigns import as_line
from streams.core.campaigns.campaign import CampaignKind
from streams.core.campaigns.catalogue import Campaign


def test_campaigns_are_of_four_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    ended = cli.run(["campaigns", "list", "--kind", "links"])

    assert ended == 2
    assert "--kind: no campaign is of the kind 'links'. Write content, link, text or name" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("first_us", "last_us", "span"),
    [
        (1_764_174_840_000_000, 1_764_183_840_000_000, "26 Nov 16:34–19:04Z"),
        (1_763_994_840_000_000, 1_764_183_840_000_000, "24 Nov – 26 Nov"),
    ],
)
def test_a_campaign_takes_a_line_of_a_narrow_terminal_and_names_its_days(
    first_us: int, last_us: int, span: str
) -> None:
    found = Campaign("content-05d1f3a29c04b718", CampaignKind.CONTENT, 99_999, 999, first_us, last_us, (), ())

    line = as_line(found)

    assert line.endswith(f"  {span}")
    assert len(line) <= 80
