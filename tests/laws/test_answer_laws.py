"""A law of answers: alone and in a batch, a decision is answered by its public view as JSON."""

from __future__ import annotations

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from gate.core.decision import Decision, Stage, Verdict
from gate.records.decision import ReservationSigner, answer, encode_decision, encode_decisions

SIGNER = ReservationSigner(b"salt")
texts = st.sampled_from(("a-1", "u", 'quo"ted', "back\\slash", "new\nline", "é", "山", "<>", "\x7f"))
let_in = st.builds(
    Decision, texts, texts, st.just("new"), st.just(Verdict.ALLOW), st.just(Stage.DEFAULT), st.just("allow"), st.none(),
    st.none(), st.sampled_from(("p", "<>")), st.integers(0, 1), st.none(), st.just(()), reserved=st.just(True),
    room_at_us=st.sampled_from((7, 1_800_000_000_000_000)),
)  # fmt: skip
others = st.builds(
    Decision, texts, texts, st.just("new"), st.sampled_from(Verdict), st.sampled_from(Stage), texts,
    st.none() | st.just(1_500_000), st.none() | texts, st.just("p"), st.just(0), st.none(), st.just(()),
    st.sampled_from(((), ("store",))), reserved=st.booleans(), room_at_us=st.just(7),
    message=st.sampled_from(("", "later")),
).filter(lambda decision: decision.stage is not Stage.DEFAULT or not decision.reserved)  # fmt: skip
"""What is reserved by default is let in for the one reason `allow`, as in `let_in`."""
ALLOWED = Decision(
    "u", "a", "new", Verdict.ALLOW, Stage.DEFAULT, "allow", None, None, "p", 0, None, (), reserved=True, room_at_us=7
)
ignored = st.sampled_from(((), (), ("ip",)))


@given(st.lists(st.tuples(let_in | let_in | others, ignored), min_size=1, max_size=4))
@example([(Decision("u", "a", "new", Verdict.ALLOW, Stage.DEFAULT, "allow", None, None, "p", 0, None, ()), ())])
@example([(ALLOWED, ()), (replace(ALLOWED, account="a-1"), ()), (replace(ALLOWED, account="a-2", room_at_us=8), ())])
def test_the_body_of_a_batch_holds_the_answer_that_each_check_would_get_alone(
    pairs: list[tuple[Decision, tuple[str, ...]]],
) -> None:
    decisions, fields = [decision for decision, _ in pairs], [fields for _, fields in pairs]

    for signer in (SIGNER, None):
        body = encode_decisions(decisions, fields, signer)

        each = [encode_decision(decision, one, signer) for decision, one in pairs]
        assert each == [msgspec.json.encode(answer(decision, one, signer)) for decision, one in pairs]
        assert body == b'{"decisions":[%b]}' % b",".join(each)
