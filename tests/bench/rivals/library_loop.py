"""Another limiter library in this process, on Redis: one check after the other, three buckets of one account each.

`python library_loop.py NAME REDIS COUNT` prints one JSON object, `{"us","redis_us"}`: CPU µs a check of this process and of
Redis. It runs in an environment that has the libraries and not this project, so it imports nothing of it.
Each library is used in its cheapest form that does not let twice a limit pass around the turn of a window: sliding window
counters, GCRA, logs.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

from redis import Redis

SPANS = {"minute": (60, 60), "hour": (600, 3_600), "day": (6_000, 86_400)}
"""Of each bucket: uploads and seconds."""
WARM_UP = 500

Check = Callable[[str], bool]


def with_limits(url: str) -> Check:
    """The library `limits`."""
    from limits import RateLimitItemPerDay, RateLimitItemPerHour, RateLimitItemPerMinute
    from limits.storage import storage_from_string
    from limits.strategies import SlidingWindowCounterRateLimiter

    limiter = SlidingWindowCounterRateLimiter(storage_from_string(url))
    items = (RateLimitItemPerMinute(60), RateLimitItemPerHour(600), RateLimitItemPerDay(6_000))
    return lambda account: sum(limiter.hit(item, account) for item in items) == len(items)


def with_throttled(url: str) -> Check:
    """The library `throttled-py`."""
    from throttled import RateLimiterType, Throttled, rate_limiter, store

    where = store.RedisStore(server=url)
    quotas = (rate_limiter.per_min(60), rate_limiter.per_hour(600), rate_limiter.per_day(6_000))
    using = [Throttled(using=RateLimiterType.GCRA.value, quota=quota, store=where) for quota in quotas]
    keys = [f"{span}:" for span in SPANS]
    return lambda account: sum(each.limit(key + account).limited for key, each in zip(keys, using, strict=True)) == 0


def with_pyrate(url: str) -> Check:
    """The library `pyrate-limiter`, a limiter with a bucket of its own for each span."""
    using = [(f"{span}:", _pyrate(url, {span: rate})) for span, rate in SPANS.items()]
    return lambda account: sum(acquire(key + account) for key, acquire in using) == len(using)


def with_pyrate_rates(url: str) -> Check:
    """The same with one bucket of three rates, which is possible where all limits are of one entity."""
    return _pyrate(url, SPANS)


def _pyrate(url: str, spans: dict[str, tuple[int, int]]) -> Check:
    from pyrate_limiter import BucketFactory, Limiter, Rate, RateItem
    from pyrate_limiter.buckets.redis_bucket import LuaScript, RedisBucket

    client = Redis.from_url(url)
    rates = [Rate(uploads, seconds * 1_000) for uploads, seconds in spans.values()]
    script = client.script_load(LuaScript.PUT_ITEM)

    class Accounts(BucketFactory):
        """A bucket for each account, as the library's documentation has it, without its thread that forgets."""

        def wrap_item(self, name: str, weight: int = 1) -> RateItem:
            """See BucketFactory."""
            return RateItem(name, time.time_ns() // 1_000_000, weight=weight)

        def get(self, item: RateItem) -> RedisBucket:
            """See BucketFactory."""
            return RedisBucket(rates, client, item.name, script)

    limiter = Limiter(Accounts())
    return lambda account: bool(limiter.try_acquire(account, blocking=False))


LIBRARIES = {"limits": with_limits, "throttled-py": with_throttled, "pyrate-limiter": with_pyrate}
"""Each with three buckets."""
ONE_BUCKET = "pyrate-limiter with one bucket of three rates"


def main() -> None:
    """The command."""
    name, url, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    check = with_pyrate_rates(url) if name == ONE_BUCKET else LIBRARIES[name](url)
    info = Redis.from_url(url)
    for number in range(WARM_UP):
        check(f"w-{number:06d}")
    redis_s, own_s, let_in = redis_cpu_s(info), time.process_time(), 0
    for number in range(count):
        let_in += check(f"a-{number:06d}")
    own_s, redis_s = time.process_time() - own_s, redis_cpu_s(info) - redis_s
    if let_in != count:
        sys.exit(f"{name} let in only {let_in} of {count} checks")
    print(json.dumps({"us": own_s / count * 1e6, "redis_us": redis_s / count * 1e6}))


def redis_cpu_s(client: Redis) -> float:
    """CPU seconds of the server by its own account."""
    used = client.info("cpu")
    return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])


if __name__ == "__main__":
    main()
