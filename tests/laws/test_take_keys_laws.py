"""A law of packed takes: the command names the keys that `gate.stores.redis.layout` tells, in any alphabet."""

from __future__ import annotations

import struct

import hiredis
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gate.core.limits.limit import NEVER_US, EntityBuckets, EntityLimits, Limit, Rate, Room
from gate.core.limits.take import ClassLimits, TakeRequest
from gate.stores.redis.account_keys import in_key, override_key, score_key
from gate.stores.redis.layout import account_key, due_key, upload_key
from gate.stores.redis.packing import numbered_limits
from gate.stores.redis.take_batch import Batch
from gate.stores.redis.unrolled import Unrolled

RATE = Rate(3, 7_000_000, 3)
BYTES = EntityLimits((Limit("bytes", Rate(12, 90_000_000, 1 << 20), by_bytes=True),))
FLYING = EntityLimits((Limit("flying", RATE, in_flight=True),))
LIMITS = ClassLimits(
    FLYING, EntityLimits((Limit("ip", RATE),)), BYTES, (EntityBuckets("class:ü", BYTES),), None, 1, 1, name="ü"
)
ONE_RATE = ClassLimits(BYTES, None, None, (), None, 1, 1, name="one")
NOTHING = EntityLimits((Limit("nothing", Rate(0, 90_000_000, 0), by_bytes=True),))
NO_RATE = ClassLimits(NOTHING, None, None, (), None, 1, 1, name="nothing")
NO_BYTES = ClassLimits(EntityLimits((Limit("uploads", RATE),)), None, None, (), None, 1, 1, name="uploads")
CLASSES = (LIMITS, ONE_RATE, NO_RATE, NO_BYTES)
HEAD = struct.Struct("<BBHHHIH")
names = st.text(st.sampled_from("ab}:é山😀"), min_size=1, max_size=5)
pseudonyms = names | st.sampled_from(["0123456789abcdef", "fedcba9876543210"])
requests = st.lists(
    st.builds(
        TakeRequest, names, names, st.sampled_from(CLASSES), st.none() | pseudonyms, st.none() | pseudonyms,
        st.integers(0, 1 << 40),
        class_=names, kind=st.none() | names, attempt=st.integers(0, 9),
    ),
    min_size=1, max_size=5,
)  # fmt: skip


@given(requests, names, st.booleans())
def test_a_packed_call_names_the_keys_of_each_check_and_tells_what_is_checked(
    checks: list[TakeRequest], prefix: str, known: bool
) -> None:
    unrolled = Unrolled(CLASSES)
    reader = hiredis.Reader()

    reader.feed(Batch(checks, unrolled, prefix).packed(known))

    verb, script, count, *keys, argument = reader.gets()
    assert (verb, script) == ((b"EVALSHA", unrolled.script.sha) if known else (b"EVAL", unrolled.script.source))
    assert int(count) == len(keys) == len(set(keys)) + len(checks) - len({(c.account, c.upload_id) for c in checks})
    assert [key.decode() for key in keys[:2]] == [f"{prefix}2b:class:ü", due_key(prefix)]
    at = 2
    for n, check in enumerate(checks):
        number, _, account, network, device, attempt, length = HEAD.unpack_from(argument, at)
        limits, at = check.class_limits, at + HEAD.size
        rates = limits.byte_rates
        costs = struct.unpack_from(f"<{len(rates)}d", argument, at)
        at += 8 * len(rates)
        (flying,) = struct.unpack_from("<H", argument, at) if limits is LIMITS else (0,)
        at += 2 * (limits is LIMITS) + length
        assert (number, attempt) == (unrolled.numbers[limits], check.attempt)
        assert argument[at - length : at] == Batch.fingerprint(check, {})
        assert costs == tuple(min(rate.cost_us(check.size), NEVER_US) for rate in rates)
        slot = f"{{{in_key(check.account)}}}"
        own = [key_of(prefix, check.account) for key_of in (account_key, score_key, override_key)]
        assert [key.decode() for key in keys[account - 1 : account + 2]] == own
        assert _named(keys, network) == (f"{prefix}2b:ip:{check.ip}" if limits.ip and check.ip else None)
        assert _named(keys, device) == (f"{prefix}2b:device:{check.device}" if limits.device and check.device else None)
        assert _named(keys, flying) == (f"{prefix}2f:account:{slot}" if limits is LIMITS else None)
        assert keys[n - len(checks)].decode() == upload_key(prefix, check.account, check.upload_id)
    assert at == len(argument)


def _named(keys: list[bytes], number: int) -> str | None:
    return keys[number - 1].decode() if number else None


digests = st.text("0123456789abcdef", min_size=16, max_size=16)
nearly = digests | st.sampled_from(["a" * 15, "a" * 17, "a" * 14 + "  ", " " * 16, "", "ü" * 16]) | st.none()
fingerprinted = st.lists(
    st.builds(
        TakeRequest, account=st.just("a"), upload_id=st.just("u"), class_limits=st.just(LIMITS),
        ip=digests | digests | nearly, device=digests | digests | nearly,
        size=st.integers(0, 9) | st.sampled_from([(1 << 40) - 1, 1 << 40]),
        class_=st.sampled_from(["new", "ü"]), kind=st.sampled_from([None, "image"]),
    ),
    min_size=1, max_size=4,
)  # fmt: skip


@given(fingerprinted, st.booleans())
def test_fingerprints_that_are_packed_with_others_are_those_of_each_check(
    checks: list[TakeRequest], are_known: bool
) -> None:
    alone = [Batch.fingerprint(check, {}) for check in checks]
    unrolled, reader = Unrolled((LIMITS,)), hiredis.Reader()
    if are_known:
        for check in checks:
            Batch.fingerprint(check, unrolled.kinds)

    reader.feed(Batch(checks, unrolled, "p:").packed(True))

    argument, at, found = reader.gets()[-1], 2, []
    for _ in checks:
        length = HEAD.unpack_from(argument, at)[-1]
        at += HEAD.size + 8 * len(LIMITS.byte_rates) + 2 + length
        found.append(argument[at - length : at])
    assert found == alone


def test_the_digits_of_one_pseudonym_are_not_read_as_those_of_another() -> None:
    short, long = (TakeRequest("a", "u", LIMITS, "a" * 16, "b" * digits) for digits in (14, 18))

    assert Batch.names_of([short, long]) == b""
    assert Batch.names_of([replace(short, device="b" * 14 + "  ")]) == b""
    assert Batch.names_of([replace(short, device="b" * 16)]) == bytes.fromhex("a" * 16 + "b" * 16)


def test_each_answer_of_a_batch_has_the_room_of_its_own_bucket() -> None:
    checks = [TakeRequest(f"a-{n}", f"u-{n}", CLASSES[n % 2]) for n in range(6)]
    unrolled = Unrolled(CLASSES)
    by_class = numbered_limits(unrolled.classes)
    told = [(7.0, 1, 1), (7.0, 1, 1), (8.0, 1, 1), (8.0, 1, 2), (8.0, 2, 1), (7.0, 1, 1)]
    answers = b"".join(struct.pack("<BdBH", 1, *each) for each in told)

    results = Batch(checks, unrolled, "ug:").read([answers, struct.pack("<d", 5.0)])

    assert [result.room for result in results] == [
        Room(by_class[class_ - 1][limit - 1], int(wait)) for wait, class_, limit in told
    ]
    assert all(result.charged and result.now_us == 5 for result in results)
