"""From signals to a score: caps hold, reasons are told, and the shipped weights judge farms and people as they should."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gate.core.score import Score, Stamp
from gate.core.signal import Signal
from gate.errors import PolicyInvalid
from gate.policyfile import load_policy
from streams.core.crowd import Crowd
from streams.core.scorecard import Scorecard
from streams.files.public_suffixes import load_web_links
from streams.files.scorecards import load_scorecard, parse_scorecard
from streams.pipeline.hashes import Hashes
from streams.pipeline.step import Record, process

BEGAN = datetime(2026, 11, 23, 10, tzinfo=UTC)
WEB = load_web_links()
STAMP = Stamp("epoch", 9)
DENY = min(limit.deny for limit in load_policy(None).thresholds.values() if limit.deny is not None)
FAMILIES = sorted({signal.family for signal in Signal})


def shipped() -> Scorecard:
    return load_scorecard(None)


def card(**given: str) -> str:
    caps = given.get("caps", "\n".join(f"{family} = 1.0" for family in FAMILIES))
    rest = f"[caps]\n{caps}\n[bot]\n{given.get('bot', '')}\n[scam]\n{given.get('scam', '')}\n"
    return f"version = 1\nbias = -4.0\n{given.get('top', '')}\n{rest}"


def refusal(text: str) -> PolicyInvalid:
    with pytest.raises(PolicyInvalid) as caught:
        parse_scorecard(text, "card.toml")
    return caught.value


def scored(card: Scorecard, *signals: tuple[Signal, float]) -> Score:
    values = dict(signals)
    return card.score("a-17", [values.get(signal, 0.0) for signal in Signal], 5, 7, STAMP)


@pytest.mark.parametrize("signal", Signal)
def test_no_single_signal_at_full_value_denies(signal: Signal) -> None:
    score = scored(shipped(), (signal, 1.0))

    assert score.risk < DENY
    assert max(score.bot, score.scam) <= score.risk + 1e-12


@pytest.mark.parametrize("family", FAMILIES)
def test_no_single_family_at_full_value_denies(family: str) -> None:
    assert scored(shipped(), *((signal, 1.0) for signal in Signal if signal.family == family)).risk < DENY


def test_a_score_says_whose_it_is_when_and_from_what() -> None:
    score = scored(shipped())

    assert (score.account, score.at_us, score.scored_at_us, score.stamp) == ("a-17", 5, 7, STAMP)
    assert score.scorecard == shipped().hash
    assert score.reasons == ()
    assert score.risk < 0.05


def test_more_of_a_signal_never_lowers_the_risk_but_of_one_that_speaks_for_the_account() -> None:
    for signal in Signal:
        risks = [scored(shipped(), (signal, value / 10)).risk for value in range(11)]
        assert risks == sorted(risks, reverse=signal.speaks_for)


def test_what_speaks_for_an_account_takes_its_cap_away_and_no_more() -> None:
    card_ = parse_scorecard(card(bot='"challenge.passed" = -9.0'), "card.toml")

    assert scored(card_, (Signal.CHALLENGE_PASSED, 1.0)).bot == pytest.approx(1 / (1 + 2.718281828**5.0))


def test_a_weight_against_the_account_of_what_speaks_for_it_is_refused() -> None:
    assert "challenge.passed" in str(refusal(card(bot='"challenge.passed" = 0.1')))


def test_risk_is_that_of_either_being_true() -> None:
    score = scored(shipped(), *((signal, 0.7) for signal in Signal))

    assert score.risk == pytest.approx(1 - (1 - score.bot) * (1 - score.scam))


def test_a_family_adds_its_cap_and_no_more() -> None:
    capped = parse_scorecard(card(bot='"tempo.burst" = 3.0\n"tempo.rhythm" = 3.0'), "card.toml")

    both = scored(capped, (Signal.TEMPO_BURST, 1.0), (Signal.TEMPO_RHYTHM, 1.0))

    assert both.bot == scored(capped, (Signal.TEMPO_BURST, 1.0)).bot
    assert both.bot == pytest.approx(1 / (1 + 2.718281828**3.0))


def test_reasons_are_told_heaviest_first_and_five_at_most() -> None:
    score = scored(shipped(), *((signal, 1.0) for signal in Signal))

    carried = [reason.value * reason.weight for reason in score.reasons]
    assert len(carried) == 5
    assert carried == sorted(carried, reverse=True)
    assert {reason.signal for reason in score.reasons} <= {signal.value for signal in Signal}


def test_the_shipped_file_is_the_default_and_its_hash_follows_its_numbers(tmp_path: Path) -> None:
    file = tmp_path / "card.toml"
    file.write_text("# a comment\n" + card())
    other = parse_scorecard(card(bot='"tempo.burst" = 0.5'), "x")

    assert load_scorecard(file).hash == parse_scorecard(card(), "elsewhere.toml").hash
    assert len({load_scorecard(file).hash, other.hash, shipped().hash}) == 3


def test_a_score_carries_the_half_life_of_the_file_and_the_risk_without_evidence() -> None:
    score = scored(parse_scorecard(card(top='[decay]\nhalf_life = "36h"'), "x"), (Signal.TEMPO_BURST, 1.0))

    assert score.half_life_us == 36 * 3_600_000_000
    assert score.base == pytest.approx(scored(shipped_without_decay()).risk)
    assert scored(shipped_without_decay()).half_life_us == 0


def shipped_without_decay() -> Scorecard:
    return parse_scorecard(card(), "x")


@pytest.mark.parametrize(
    ("decay", "key"),
    [
        ('[decay]\nhalf_life = "soon"', "decay.half_life"),
        ('[decay]\nhalf_life = "1m"', "decay.half_life"),
        ('[decay]\nhalflife = "72h"', "decay.halflife"),
        ("decay = 3", "decay"),
    ],
)
def test_a_half_life_that_cannot_be_used_is_named(decay: str, key: str) -> None:
    error = refusal(card(top=decay))

    assert (error.key, error.line) == (key, 3 if key == "decay" else 4)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyInvalid, match=r"gone\.toml"):
        load_scorecard(tmp_path / "gone.toml")


def test_a_misspelt_key_is_named_with_its_line_and_what_was_meant() -> None:
    error = refusal(card(top="biass = 1"))

    assert (error.file, error.line, error.key) == ("card.toml", 3, "biass")
    assert "did you mean bias?" in str(error)


@pytest.mark.parametrize("table", ["bot", "scam"])
def test_an_unknown_signal_is_named_with_its_line_and_what_was_meant(table: str) -> None:
    text = card(**{table: '"tempo.brust" = 1.0'})

    error = refusal(text)

    assert error.line is not None
    assert "tempo.brust" in text.splitlines()[error.line - 1]
    assert f"{table}.tempo.brust" in str(error)
    assert "did you mean tempo.burst?" in str(error)


@pytest.mark.parametrize("value", ["-0.1", "10.1", "nan", "inf", "true", '"1"', "[1]"])
def test_a_weight_that_is_no_number_from_0_to_10_is_refused(value: str) -> None:
    error = refusal(card(bot=f'"tempo.burst" = {value}'))

    assert "tempo.burst" in str(error)
    assert error.line is not None


@pytest.mark.parametrize("cap", ["4.0", "4.5"])
def test_a_cap_that_could_condemn_alone_is_refused(cap: str) -> None:
    caps = "\n".join(f"{family} = {cap if family == 'text' else '1.0'}" for family in FAMILIES)

    error = refusal(card(caps=caps))

    assert "caps.text" in str(error)
    assert "alone" in str(error)


def test_a_family_without_a_cap_is_refused() -> None:
    assert "caps.age" in str(refusal(card(caps="\n".join(f"{f} = 1.0" for f in FAMILIES if f != "age"))))


def test_a_file_of_another_version_or_none_at_all_is_refused() -> None:
    other, broken = refusal(card().replace("version = 1", "version = 2")), refusal(card().replace("[caps]", "[caps"))

    assert str(other).startswith("card.toml:1: version: must be 1")
    assert str(broken).startswith("card.toml: not TOML")


class Platform:
    """One partition, folded event by event, that remembers each account's last score."""

    def __init__(self) -> None:
        self.states: dict[str, bytes] = {}
        self.crowd = Crowd()
        self.risks: dict[str, list[float]] = {}

    def upload(self, account: str, second: float, age: timedelta | None = None, **given: Any) -> float:
        who: dict[str, Any] = {"id": account}
        if age is not None:
            who["created_at"] = (BEGAN - age).isoformat()
        at = (BEGAN + timedelta(seconds=second)).isoformat()
        value = json.dumps({"type": "attempted", "id": f"{second}", "at": at, "account": who, **given}).encode()
        record = Record(len(self.risks), account.encode(), value, (), 0)
        done = process([record], self.states, self.crowd, shipped(), Hashes(b"salt"), WEB, ("events", 0), "epoch", 0)
        self.states.update(done.states)
        self.risks.setdefault(account, []).append(done.scores[0].score.risk)
        return done.scores[0].score.risk


def farm(*, upto: int = 10, **given: Any) -> Platform:
    platform = Platform()
    jitter = random.Random(7)
    for turn in range(upto):
        for bot in range(31):
            second = 30 + turn * 10 + bot * 0.3 + jitter.uniform(-0.5, 0.5)
            platform.upload(f"bot-{bot}", second, timedelta(minutes=1), **given)
    return platform


CONTENT = {"media": {"kind": "image", "sha256": "same"}, "links": ["https://claim-bonus77.top/x"]}


@pytest.mark.parametrize(
    "shared", [{"ip": "203.0.113.9"}, {"device": "d-1"}, {"ip": "203.0.113.9", "device": "d-1"}], ids=" and ".join
)
def test_every_account_of_a_farm_is_denied_on_score_alone_within_ten_events(shared: dict[str, str]) -> None:
    risks = farm(**shared, **CONTENT).risks

    assert min(max(each) for each in risks.values()) >= DENY


def ordinary(age: timedelta | None, seed: int) -> list[float]:
    platform, rng, second = Platform(), random.Random(seed), 0.0
    words = "sunset harbour train garden bread old town rain snow class cat asleep over the lake with friends".split()  # noqa: SIM905
    for number in range(30):
        second += rng.lognormvariate(8.0, 1.8)
        given: dict[str, Any] = {"links": [f"https://site{number}.example/"]} if rng.random() < 0.05 else {}
        if rng.random() < 0.7:
            given["text"] = " ".join(rng.sample(words, rng.randint(1, 9)))
        media = {"kind": "image", "sha256": f"photo-{seed}-{number}"}
        platform.upload("person", second, age, ip="198.51.100.4", device="d-own", media=media, **given)
    return platform.risks["person"]


@pytest.mark.parametrize("age", [None, timedelta(days=500)], ids=["age unknown", "old"])
@pytest.mark.parametrize("seed", range(10))
def test_an_ordinary_account_is_never_under_suspicion(age: timedelta | None, seed: int) -> None:
    assert max(ordinary(age, seed)) < 0.3


@pytest.mark.parametrize("hours", [0.5, 5.0, 48.0])
def test_an_honest_new_account_on_a_campus_of_forty_is_not_challenged(hours: float) -> None:
    platform = Platform()
    for student in range(40):
        platform.upload(f"student-{student}", student, timedelta(days=200), ip="192.0.2.1", device=f"d-{student}")

    for number, second in enumerate((100, 400, 3_000, 3_300, 20_000, 21_000)):
        platform.upload(
            "fresher", second, timedelta(hours=hours), ip="192.0.2.1", device="d-own",
            media={"kind": "image", "sha256": f"photo-{number}"}, text=("hi", "my room!", "lunch with the others")[number % 3],
        )  # fmt: skip

    assert max(platform.risks["fresher"]) < 0.5
