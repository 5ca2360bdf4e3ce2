"""What a pause tells uploaders: bounded text and link, in the answers to checks and batches, and in what staff read."""

import json

import pytest

from gate.cli import main as cli
from gate.cli.pause_text import pause_lines
from gate.core.account import Account
from gate.core.decide import decide, live_pauses
from gate.core.decision import Decision
from gate.core.media import Media
from gate.core.pause.board import Board
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Action, Scope
from gate.core.request import CheckRequest
from gate.errors import StateUnreadable
from gate.policyfile import load_policy
from gate.records.board_document import decode_board, encode_board
from gate.records.break_glass_document import decode_break_glass, with_pause
from gate.records.decision import encode_decision, encode_decisions
from gate.records.pause import decode_pause, encode_pause, pause_document

NOW_US = 1_700_000_000_000_000
HOUR_US = 3_600_000_000
TEXT = "Uploads rest until six; your drafts are kept."
LINK = "https://status.example.org/uploads"


def a_pause(public: str = TEXT, link: str = LINK, action: Action = Action.STOP) -> Pause:
    return Pause(
        "p-1", 1, Scope(), action, "raid", "for staff alone", "ann", None, NOW_US + HOUR_US, set_at_us=NOW_US,
        public=public, public_link=link,
    )  # fmt: skip


def held_by(pause: Pause, request: CheckRequest) -> Decision:
    policy = load_policy(None)
    pauses = live_pauses(Board({pause.id: pause}), NOW_US)
    decision = decide(request, policy.class_of(request.account, NOW_US), pauses, policy, NOW_US)
    assert decision is not None
    return decision


@pytest.fixture
def request_() -> CheckRequest:
    return CheckRequest("u-1", Account("a-1"), Media("image"))


def test_answers_to_a_check_and_to_a_batch_carry_text_and_link_and_nothing_for_staff(request_: CheckRequest) -> None:
    decision = held_by(a_pause(), request_)

    single = json.loads(encode_decision(decision))
    (batched,) = json.loads(encode_decisions([decision], [("ip",)]))["decisions"]

    assert (single["decision"], single["message"], single["link"]) == ("paused", TEXT, LINK)
    assert "ignored" not in single
    assert (batched["message"], batched["link"], batched["ignored"]) == (TEXT, LINK, ["ip"])
    assert "for staff alone" not in json.dumps([single, batched])


def test_without_a_text_an_answer_has_neither_field(request_: CheckRequest) -> None:
    body = json.loads(encode_decision(held_by(a_pause("", ""), request_)))

    assert body["decision"] == "paused"
    assert not {"message", "link", "ignored"} & body.keys()


@pytest.mark.parametrize("text", [TEXT, "آپلودها متوقف شده\u200cاند", "👩\u200d👧 back soon", "x" * 500])
def test_the_board_and_the_hosts_file_keep_the_text(text: str) -> None:
    pause = a_pause(text)

    assert decode_board(encode_board(Board({"p-1": pause}))).pauses["p-1"] == pause
    assert decode_break_glass(with_pause(None, NOW_US, pause), NOW_US).pauses[0].public == text


@pytest.mark.parametrize(
    ("text", "link", "names"),
    [
        ("x" * 501, "", "`pause.public` is longer than 500 characters"),
        ("a\nb", "", "`pause.public` has a character that cannot be shown"),
        ("a\x1b[31m", "", "`pause.public` has a character that cannot be shown"),
        ("a\u202eb", "", "`pause.public` has a character that cannot be shown"),
        (TEXT, "javascript:alert(1)", "`pause.public_link` is not a link"),
        (TEXT, "https://", "`pause.public_link` is not a link"),
        (TEXT, "https://[", "`pause.public_link` is not a link"),
        (TEXT, "https://good.example@evil.example/", "`pause.public_link` is not a link"),
        (TEXT, "https://a.example/ b", "`pause.public_link` has a character"),
        (TEXT, "https://a.example/" + "x" * 500, "`pause.public_link` is longer"),
    ],
)
def test_what_no_answer_may_carry_is_refused_by_the_parser_with_its_field(text: str, link: str, names: str) -> None:
    with pytest.raises(StateUnreadable) as refused:
        decode_pause(encode_pause(a_pause(text, link)))

    assert names in str(refused.value)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--public", "x" * 501), "--public is longer than 500 characters"),
        (("--public", "a\x1bb"), "--public has a character that cannot be shown"),
        (
            ("--public", "x", "--public-link", "ftp://a.example"),
            "--public-link is not a link that begins with https://",
        ),
        (("--public-link", LINK), "--public-link comes without a text"),
    ],
)
def test_the_command_refuses_it_before_it_looks_for_a_system(
    flags: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = cli.run(["pause", "--class", "new", "--reason", "raid", "--yes", *flags])

    assert ended == 2
    assert says in capsys.readouterr().err


def test_staff_read_what_uploaders_are_told() -> None:
    lines = pause_lines(a_pause(), NOW_US, 80)

    assert f'tells uploaders "{TEXT}" {LINK}' in " ".join(" ".join(lines).split())
    assert (pause_document(a_pause(), NOW_US)["public"], pause_document(a_pause(), NOW_US)["public_link"]) == (
        TEXT,
        LINK,
    )
