"""Redis with TLS: one server, the master that Sentinels name, a Cluster. Our connections use TLS and verify the server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gate.core.limits.limit import EntityLimits, Limit, Rate
from gate.core.limits.take import ClassLimits, TakeRequest, TakeResult
from gate.core.pause.board import Board
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Action, Scope
from gate.errors import StoreUnavailable
from gate.local.free_port import LOOPBACK
from gate.records.score import with_bytes
from gate.stores.redis import cluster_takes, takes
from gate.stores.redis.accounts import RedisAccountStore
from gate.stores.redis.boards import RedisBoardStore
from gate.stores.redis.scores import RedisScoreStore
from tests.certificates import make_certificates
from tests.redis_nodes import Cluster, Watched, running_cluster, running_sentinels
from tests.take_requests import MINUTE_US, NOW_US, score
from tests.tls_front import TlsFronts, tls_fronts
from tests.waiting import eventually

pytestmark = pytest.mark.slow

NAME = b"upload-gate"
BURST = 2
OF_ACCOUNTS = ClassLimits(
    EntityLimits((Limit("account", Rate(1, 60 * MINUTE_US, BURST)),)), None, None, (), None, 0, 60 * MINUTE_US, name="new"
)  # fmt: skip


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def fronts(certificates: Path) -> Iterator[TlsFronts]:
    with tls_fronts(certificates, NAME) as running:
        yield running


@pytest.fixture(scope="module", params=["one server", "sentinels", "cluster"])
def plain_url(
    request: pytest.FixtureRequest, fronts: TlsFronts, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The URL without TLS, by ports that speak TLS too."""
    if request.param == "one server":
        yield f"redis://{LOOPBACK}:{fronts.port_of(urlsplit(redis_url).port or 0)}/0"
        return
    home = tmp_path_factory.mktemp(request.param)
    running: AbstractContextManager[Watched | Cluster] = (
        running_sentinels(home, fronts.port_of)
        if request.param == "sentinels"
        else running_cluster(home, fronts.port_of)
    )  # fmt: skip
    with running as nodes:
        yield nodes.url


def with_tls(plain_url: str, authority: Path) -> str:
    return f"{plain_url.replace('redis', 'rediss', 1)}?ssl_ca_certs={authority}"


@pytest.fixture
async def stores(
    plain_url: str, certificates: Path, unique: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[RedisAccountStore, RedisScoreStore, RedisBoardStore]]:
    # the ports with TLS are threads of this process, which others may keep waiting
    for module in (takes, cluster_takes):
        monkeypatch.setattr(module, "CONNECT_WITHIN_S", 20.0)
    url, prefix = with_tls(plain_url, certificates / "ours-ca.pem"), f"{unique()}:"
    accounts, scores, boards = (
        RedisAccountStore(url, prefix=prefix, deadline_s=5.0), RedisScoreStore(url, prefix), RedisBoardStore(url, prefix)
    )  # fmt: skip
    await accounts.open()
    await eventually(lambda: accounts.down is None, timeout_s=60.0)
    yield accounts, scores, boards
    for store in (accounts, scores, boards):
        await store.close()


async def test_takes_scores_and_the_board_go_through_tls_and_never_beside_it(
    fronts: TlsFronts, stores: tuple[RedisAccountStore, RedisScoreStore, RedisBoardStore]
) -> None:
    accounts, scores, boards = stores
    before = fronts.encrypted
    names = [f"a{n}" for n in range(100)]
    pause = Pause("p-1", 1, Scope(), Action.STOP, "raid", "", "ada", None, NOW_US + MINUTE_US, set_at_us=NOW_US)

    await scores.put_scores([with_bytes(score(name)) for name in names])
    checks = [
        TakeRequest(name, f"u{n}", OF_ACCOUNTS, None, class_="new", attempt=n + 1) for n in range(3) for name in names
    ]
    results = await accounts.take_many(checks)
    written = await boards.replace(0, Board({pause.id: pause}))

    answers = [each for each in results if isinstance(each, TakeResult)]
    assert len(answers) == 300, [each for each in results if not isinstance(each, TakeResult)][:1]
    assert sum(each.charged for each in answers) == BURST * len(names)
    assert all(each.standing.risk is not None for each in answers)
    assert written
    assert (await boards.read()).pauses == {pause.id: pause}
    assert fronts.encrypted > before
    assert fronts.unencrypted_clients == 0


async def test_a_server_with_a_certificate_of_another_authority_gets_nothing(
    plain_url: str, certificates: Path, unique: Callable[[], str]
) -> None:
    boards = RedisBoardStore(with_tls(plain_url, certificates / "other-ca.pem"), f"{unique()}:")

    with pytest.raises(StoreUnavailable) as raised:
        await boards.read()

    assert "certificate" in str(raised.value)
    await boards.close()


async def test_a_connection_without_tls_is_counted_as_one(
    fronts: TlsFronts, plain_url: str, unique: Callable[[], str]
) -> None:
    """The proof that the first test could fail."""
    before = fronts.unencrypted_clients
    boards = RedisBoardStore(plain_url, f"{unique()}:")

    await boards.read()

    assert fronts.unencrypted_clients > before
    fronts.unencrypted_clients = before
    await boards.close()
