"""The pure parts of Redis with several nodes: URLs, slots, what error replies mean, and how a check is cut into parts."""

import pytest
from msgspec.structs import replace
from redis.exceptions import ResponseError

from gate.core.limits.gcra import Refusal
from gate.core.limits.limit import EntityBuckets, EntityLimits, Limit, Rate, Room
from gate.core.limits.take import ClassLimits, TakeRequest, TakeResult
from gate.core.override import Override
from gate.core.standing import Standing
from gate.errors import SettingInvalid
from gate.stores.redis.cluster_parts import (
    further_entities,
    further_requests,
    own_request,
    parts_of,
    together,
    upload_of,
)
from gate.stores.redis.connections.address import Endpoint, is_cluster, read_endpoints
from gate.stores.redis.connections.cluster_map import SLOTS, Redirect, read_slots, redirect_of, slot_of, tags

AT = Endpoint("10.0.0.1", 6379)
MINUTE_US = 60_000_000


def limit(name: str, *, shadow: bool = False) -> Limit:
    return Limit(name, Rate(10, MINUTE_US, 10), shadow)


OF = ClassLimits(
    EntityLimits((limit("account"),)), EntityLimits((limit("ip"),)), EntityLimits((limit("device", shadow=True),)),
    (EntityBuckets("class:new", EntityLimits((limit("class"),))), EntityBuckets("class:new", EntityLimits((limit("more"),)))),
    0.9, 1, MINUTE_US, True, "new",
)  # fmt: skip
CHECK = TakeRequest("a", "u", OF, "1f", "2e", 10, 1_000, class_="new", attempt=7)
TOOK = TakeResult(Standing(), True, False, None, (), 1_000)


def test_a_sentinel_url_names_sentinels_service_database_and_both_passwords() -> None:
    found = read_endpoints("rediss+sentinel://ada:s%40x@[::1]:5,h/uploads/3?sentinel_password=p%3Aw&ssl_ca_certs=/ca")

    assert found is not None
    assert (found.service, found.servers) == ("uploads", (Endpoint("::1", 5), Endpoint("h", 26379)))
    assert found.url(Endpoint("m", 1)) == "rediss://ada:s%40x@m:1/3?ssl_ca_certs=%2Fca"
    assert found.sentinel_url(Endpoint("::1", 5)) == "rediss://:p%3Aw@[::1]:5?ssl_ca_certs=%2Fca"
    assert "x@" not in repr(found)


def test_a_cluster_url_names_some_of_its_nodes() -> None:
    found = read_endpoints("redis+cluster://u:p@a:7000,b")

    assert is_cluster("redis+cluster://u:p@a:7000,b")
    assert found is not None
    assert found.servers == (Endpoint("a", 7000), Endpoint("b", 6379))
    assert found.url(AT) == "redis://u:p@10.0.0.1:6379/0"
    assert read_endpoints("redis://h/0") is None


@pytest.mark.parametrize(
    "url", ["redis+cluster://a/1", "redis+sentinel://a", "redis+cluster://a,,b", "redis+cluster://a:x"]
)
def test_a_url_that_lacks_something_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SettingInvalid) as refused:
        read_endpoints(url.replace("://", "://u:hunter2@"))

    assert "hunter2" not in str(refused.value)


def test_every_slot_has_a_tag_that_lies_in_it() -> None:
    assert [slot_of(f"any{{{tag}}}") for tag in tags()] == list(range(SLOTS))


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("MOVED 3999 10.0.0.2:6381", (Redirect.MOVED, Endpoint("10.0.0.2", 6381))),
        ("MOVED 3999 :6381", (Redirect.MOVED, Endpoint("10.0.0.1", 6381))),
        ("ASK 3999 ::1:6381", (Redirect.ASK, Endpoint("::1", 6381))),
        ("MOVED nonsense", (Redirect.REMAP, None)),
        ("TRYAGAIN Multiple keys request during rehashing of slot", (Redirect.WAIT, None)),
        ("LOADING Redis is loading the dataset in memory", (Redirect.WAIT, None)),
        ("CLUSTERDOWN Hash slot not served", (Redirect.REMAP, None)),
        ("READONLY You can't write against a read only replica.", (Redirect.REMAP, None)),
        ("OOM command not allowed when used memory > 'maxmemory'.", None),
    ],
)
def test_an_error_reply_says_where_to_go_or_to_wait(
    reply: str, expected: tuple[Redirect, Endpoint | None] | None
) -> None:
    assert redirect_of(ResponseError(reply), AT) == expected


def test_the_map_is_read_from_what_a_node_says_and_leaves_unserved_slots_open() -> None:
    found = read_slots([[5461, 10922, [b"b", 2, b"id"], [b"c", 3, b"id"]], [0, 5460, [b"", 1, b"id"]]], AT)

    assert found is not None
    assert [found.node(slot) for slot in (0, 5460, 5461, 10922, 10923)] == [
        Endpoint("10.0.0.1", 1), Endpoint("10.0.0.1", 1), Endpoint("b", 2), Endpoint("b", 2), None,
    ]  # fmt: skip
    assert found.first_slot(Endpoint("b", 2)) == 5461
    assert read_slots([], AT) is None
    assert read_slots(b"OK", AT) is None


def test_a_check_is_cut_into_one_part_for_each_slot() -> None:
    own, further = own_request(CHECK), further_requests(CHECK, TOOK)

    assert [each.name for each in own.class_limits.entity_limits[0].limits] == ["account"]
    assert (own.fingerprint, own.class_limits.returns) == (CHECK.fingerprint, True)
    assert [(kind, part.account) for kind, part in further] == [
        ("ip", "ip:1f"), ("device", "device:2e"), ("class:new", "class:new"),
    ]  # fmt: skip
    assert {(part.upload_id, part.attempt, part.size, part.now_us) for _, part in further} == {
        (upload_of("a", "u"), 7, 10, 1_000)
    }
    assert [each.name for each in further[2][1].class_limits.entity_limits[0].limits] == ["class", "more"]
    assert parts_of(OF) is parts_of(OF)
    assert [kind for kind, _ in further_requests(replace(CHECK, ip=None, device=None), TOOK)] == ["class:new"]
    assert further_entities({"ip", "device", "class:new"}, CHECK.fingerprint) == ["class:new", "device:2e", "ip:1f"]
    assert further_entities({"ip", "device"}, replace(CHECK, ip=None).fingerprint) == ["device:2e"]


@pytest.mark.parametrize(
    ("override", "anew"),
    [
        (None, False),
        (Override(True, "", "", 1_001), True),
        (Override(True, "", "", 1_000), False),
        (Override(False, "", "", 1_001, limits="trusted"), True),
        (Override(False, "", "", 1_000, limits="trusted"), False),
    ],
)
def test_the_other_parts_repeat_no_refusal_while_staff_let_the_account_in_or_give_it_limits(
    override: Override | None, anew: bool
) -> None:
    further = further_requests(CHECK, replace(TOOK, standing=Standing(override=override)))

    assert {part.judges_anew for _, part in further} == {anew}


def test_one_refusal_refuses_all_and_the_longest_wait_is_told() -> None:
    short, never = (
        replace(TOOK, charged=False, refusal=Refusal(name, wait)) for name, wait in (("ip", 5), ("class", None))
    )

    assert together(CHECK, TOOK, [short, TOOK]).refusal == Refusal("ip", 5)
    whole = together(CHECK, TOOK, [short, never])
    assert (whole.charged, whole.refusal) == (False, Refusal("class", None))


def test_shadow_limits_are_named_and_the_emptiest_bucket_is_told_by_the_accounts_clock() -> None:
    own = replace(TOOK, shadow=("x",), room=Room(limit("account"), 1_000 + MINUTE_US // 2))
    elsewhere = replace(TOOK, shadow=("device", "lenient"), now_us=9_000, room=Room(limit("ip"), 9_000 + MINUTE_US))

    whole = together(CHECK, own, [elsewhere])

    assert whole.shadow == ("x", "device")
    assert whole.room is not None
    assert (whole.room.limit.name, whole.room.full_at_us) == ("ip", 1_000 + MINUTE_US)


def test_another_account_with_the_same_upload_id_has_parts_of_its_own() -> None:
    assert len({upload_of("a", "bc"), upload_of("ab", "c"), upload_of("a", "b"), upload_of("", "abc")}) == 4
