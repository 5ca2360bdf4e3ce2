"""Events that an attacker would write: as dear as the size limit allows, of wrong types, of no sense.

Some can be read, some cannot; both are to be dealt with the same way in whatever order workers come and go.
"""

from __future__ import annotations

import random
from collections.abc import Callable

Record = tuple[bytes | None, bytes]
Fields = Callable[[random.Random], str]
"""Further fields of an attempted upload, as JSON behind a comma."""

CAPTION = 6_000
"""Characters of a huge caption; the largest that an event may carry come rarely, for they are many bytes."""
LARGEST_CAPTION = 14_000
RARELY = 0.02
SCRIPTS = ((0x21, 0x7E), (0x410, 0x44F), (0x5D0, 0x5EA), (0x4E00, 0x4FFF), (0x300, 0x36F), (0x1D400, 0x1D4FF))


def hostile(chance: random.Random, account: str, number: int, at: str) -> Record:
    """One event of the account, of a kind that chance chooses."""
    key = account.encode()
    plain = f'{{"type":"attempted","id":"h-{number}","at":"{at}","account":{{"id":"{account}"}}'
    if chance.random() < 0.2:
        return key, chance.choice(WHOLE)(plain)
    return key, f"{plain}{chance.choice(FIELDS)(chance)}}}".encode("utf-8", "surrogatepass")


def _caption(chance: random.Random) -> str:
    low, high = chance.choice(SCRIPTS)
    length = LARGEST_CAPTION if chance.random() < RARELY else CAPTION
    piece = "".join(chr(chance.randint(low, high)) for _ in range(60)).replace("\\", "/").replace('"', "'")
    return f',"text":"{piece * (length // 60)}"'


def _links_in_caption(chance: random.Random) -> str:
    return f',"text":"{" ".join(f"http://{chance.randrange(1 << 30):x}.example/@x" for _ in range(150))}"'


def _long_hosts(chance: random.Random) -> str:
    host = ".".join(f"{chance.randrange(1 << 20):x}" * 3 for _ in range(60))
    links = ",".join(f'"https://{host}.example/{at}"' for at in range(20))
    return f',"links":[{links}]'


def _confusable_hosts(chance: random.Random) -> str:
    host = "".join(chance.choice("аеорсухіј0ο𝐚ｅ") for _ in range(40))
    return f',"links":["https://{host}.com/", "//{host}", "javascript:{host}", "http://[::1", "http://xn--{host}/"]'


def _wrong_types(chance: random.Random) -> str:
    return chance.choice(
        (
            ',"media":{"kind":"image","bytes":"many"}',
            ',"media":[]',
            ',"links":"https://example.org/"',
            ',"links":[1,null,{}]',
            ',"ip":3405803777',
            ',"device":{"id":"d-1"}',
            ',"text":["look"]',
            ',"decision":7',
            ',"country":{}',
            ',"upload_id":-1',
        )
    )


def _no_values(chance: random.Random) -> str:
    return chance.choice(
        (
            ',"ip":"not an address"',
            ',"ip":"203.0.113.7:443"',
            ',"ip":"fe80::1%eth0"',
            ',"ip":"::ffff:203.0.113.9"',
            ',"media":{"kind":"image","bytes":-1}',
            ',"media":{"kind":"image","bytes":1e308}',
            ',"media":{"kind":"image","bytes":99999999999999999999999}',
            ',"media":{"kind":"","sha256":"","phash":""}',
            ',"decision":"nonsense"',
            ',"device":""',
            ',"text":"","links":[]',
        )
    )


def _surrogates(chance: random.Random) -> str:
    return chance.choice(
        (
            ',"text":"\\ud800"',
            ',"text":"look \\udc00\\ud800 at this"',
            ',"device":"\\udbff"',
            ',"links":["https://\\ud800.example/"]',
            ',"text":"\ud800"',
            ',"\\ud800":1',
        )
    )


def _nul(chance: random.Random) -> str:
    return chance.choice(
        (
            ',"text":"a\\u0000b"',
            ',"device":"\\u0000"',
            ',"links":["https://a\\u0000.example/"]',
            ',"media":{"sha256":"\\u0000"}',
        )
    )


def _oversized(chance: random.Random) -> str:
    return chance.choice(
        (
            f',"device":"{"d" * 5_000}"',
            f',"upload_id":"{"u" * 300}"',
            f',"ip":"{"1" * 400}"',
            f',"country":"{"x" * 2_000}"',
            f',"media_group":"{"g" * 3_000}"',
            f',"media":{{"kind":"image","sha256":"{"0" * 8_000}"}}',
            ',"links":["https://example.org/"' + ',"https://example.org/"' * 2_000 + "]",
        )
    )


def _unknown(chance: random.Random) -> str:
    return chance.choice(
        (
            f',"more":{"[" * 2_000}{"]" * 2_000}',
            "".join(f',"f{at}":{at}' for at in range(400)),
            ',"id":"twice"',
            ',"specversion":"1.0"',
        )
    )


FIELDS: tuple[Fields, ...] = (
    _caption,
    _links_in_caption,
    _long_hosts,
    _confusable_hosts,
    _wrong_types,
    _no_values,
    _surrogates,
    _nul,
    _oversized,
    _unknown,
)

WHOLE: tuple[Callable[[str], bytes], ...] = (
    lambda plain: b"",
    lambda plain: b"\xff\xfe",
    lambda plain: b"[" * 3_000,
    lambda plain: b"null",
    lambda plain: plain.encode(),
    lambda plain: f'{plain},"text":"{"x" * 66_000}"}}'.encode(),
    lambda plain: plain.replace("attempted", "exploded").encode() + b"}",
    lambda plain: plain.replace('"at":"', '"at":"-').encode() + b"}",
    lambda plain: plain.replace("}", ',"created_at":"2999-01-01T00:00:00Z"}').encode() + b"}",
    lambda plain: plain.replace("}", ',"created_at":"0001-01-01T00:00:00Z"}').encode() + b"}",
    lambda plain: plain.replace("}", ',"created_at":17}').encode() + b"}",
    lambda plain: plain.encode() + b',"text":"\xf0\x28\x8c\x28"}',
)
"""What replaces or spoils a whole event, whose bytes up to its account are given."""
