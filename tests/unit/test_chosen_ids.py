"""Accounts whose ids somebody chose so that simple checksums of them are equal still count one by one."""

from __future__ import annotations

from itertools import combinations
from zlib import crc32

from tests.unit.test_campaign_scores import PITCH, Platform, said
from tests.unit.test_campaigns import picture

PLAIN = "hhhhhhhhhhhh"
EQUAL = ("kmommmoilkih", "momlmmihillh", "knjjhhjnmoji", "mjjiihliimhl")
"""Ids with the crc32 of PLAIN. So has each id that has the bits in which any of them differ from it."""


def chosen_ids() -> list[str]:
    """Sixteen ids of one crc32."""
    steps = [[ord(one) ^ ord(plain) for one, plain in zip(id_, PLAIN, strict=True)] for id_ in EQUAL]
    found = []
    for count in range(len(steps) + 1):
        for some in combinations(steps, count):
            letters = [ord(letter) for letter in PLAIN]
            for step in some:
                letters = [letter ^ bits for letter, bits in zip(letters, step, strict=True)]
            found.append("".join(map(chr, letters)))
    return found


def test_a_farm_whose_ids_were_chosen_scores_like_any_other() -> None:
    ids = chosen_ids()
    assert len({crc32(one.encode()) for one in ids}) == 1
    any_farm, chosen = Platform(), Platform()

    any_farm.uploads(*(said(f"bot-{n}", n, device="farm", ip=f"10.9.{n}.1") for n in range(len(ids))))
    chosen.uploads(*(said(one, n, device="farm", ip=f"10.9.{n}.1") for n, one in enumerate(ids)))

    assert sorted(chosen.risks.values()) == sorted(any_farm.risks.values())
    assert max(chosen.risks.values()) > 0.5


def test_an_id_that_was_chosen_brings_no_other_account_into_a_campaign() -> None:
    honest, bot = chosen_ids()[:2]
    alone, framed = Platform(), Platform()

    for platform, last in ((alone, "bot-9"), (framed, bot)):
        platform.uploads(said(honest, 0, ip="10.8.0.1", text="a quiet walk along the river in autumn with my dog"))
        for n, account in enumerate([*(f"bot-{n}" for n in range(9)), last]):
            platform.uploads(said(account, 1 + n, text=PITCH, media={"kind": "image", "phash": picture(7)}))
        platform.uploads(
            said(honest, 30, ip="10.8.0.1", text="the river again, it rained all day and the dog loved it")
        )

    assert framed.risks[honest] == alone.risks[honest]
