"""Fetches Apache Kafka's jars and verifies their hashes.

The Maven client `jgo` (pure Python, by its own configuration) fetches each jar of `kafka-jars.lock` into a cache
outside the tree. A jar is used only if its SHA-256 is the locked one. The cache gets its name only when it is complete:
a fetch that was killed leaves a folder of another name, and the next fetch continues there.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from gate.errors import LocalServerError
from gate.extras import install_extra

KAFKA_VERSION = "4.1.0"
LOCK_FILE = "kafka-jars.lock"
MARKER = "complete.json"  # name -> [size, mtime in ns, sha256]: a later start does not read unchanged jars again
PARALLEL_FETCHES = 6
TIMEOUT_S = 30
TRIES = 3
TRY_AGAIN_AFTER_S = 0.3
SAY_EVERY_S = 1.0

WHAT_TO_DO = "try again when the network is back, or give a cluster of your own with --kafka HOST:PORT"


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of the lock file."""

    sha256: str
    coordinate: str  # group:artifact:version[:classifier]
    filename: str


# fetches one jar into a scratch folder and returns its path there
FetchJar = Callable[[Jar, Path], Path]


def default_cache() -> Path:
    """`$XDG_CACHE_HOME` or `~/.cache`, then upload-gate/kafka-VERSION."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "upload-gate" / f"kafka-{KAFKA_VERSION}"


def locked_jars() -> tuple[Jar, ...]:
    """The jars that Apache Kafka's server needs at run time, from the lock file."""
    lines = files("gate.local").joinpath(LOCK_FILE).read_text().splitlines()
    return tuple(Jar(*line.split()) for line in lines if line and not line.startswith("#"))


def fetch_jars(
    cache: Path,
    say: Callable[[str], None],
    *,
    jars: tuple[Jar, ...] | None = None,
    fetch: FetchJar | None = None,
) -> Path:
    """Make the jars available and return the folder that holds them (`cache` itself).

    It blocks, up to two minutes the first time and milliseconds later. `say` gets progress lines. Concurrent processes
    wait for each other. Raises LocalServerError if a jar cannot be fetched, or is not the locked one.
    """
    jars = locked_jars() if jars is None else jars
    if _is_whole(cache, jars):
        return cache
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with _alone(cache.with_name(f".{cache.name}.lock"), say):
            if not _is_whole(cache, jars):
                _fill(cache, jars, fetch or _maven(), say)
    except OSError as error:
        raise LocalServerError(f"cannot store Apache Kafka's jars in {cache}: {error}; {WHAT_TO_DO}") from error
    return cache


def _is_whole(cache: Path, jars: tuple[Jar, ...]) -> bool:
    """Whether every jar is there and is the locked one. A jar with the recorded size and time is not read again."""
    try:
        noted = json.loads((cache / MARKER).read_bytes())
        for jar in jars:
            path = cache / jar.filename
            size, mtime_ns, sha256 = noted[jar.filename]
            stat = path.stat()
            if sha256 != jar.sha256:
                return False
            if (stat.st_size, stat.st_mtime_ns) != (size, mtime_ns) and _sha256(path) != jar.sha256:
                return False
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return True


def _fill(cache: Path, jars: tuple[Jar, ...], fetch: FetchJar, say: Callable[[str], None]) -> None:
    partial = cache.with_name(f".{cache.name}.partial")
    if cache.exists():
        say(f"Apache Kafka's jars in {cache} have changed since they were fetched: fetching the changed ones again")
        shutil.rmtree(partial, ignore_errors=True)
        cache.rename(partial)
    partial.mkdir(exist_ok=True)
    scratch = partial / "maven"
    shutil.rmtree(scratch, ignore_errors=True)
    missing = [jar for jar in jars if not _is_right(partial / jar.filename, jar)]
    have = len(jars) - len(missing)
    size = sum((partial / jar.filename).stat().st_size for jar in jars if jar not in missing)
    said = 0.0
    for count, path in enumerate(_fetched(missing, partial, scratch, fetch), start=1):
        size += path.stat().st_size
        if time.monotonic() - said > SAY_EVERY_S or count == len(missing):
            said = time.monotonic()
            say(f"fetching Apache Kafka: {have + count} of {len(jars)} jars, {size / 1e6:.0f} MB")
    shutil.rmtree(scratch, ignore_errors=True)
    (partial / MARKER).write_text(json.dumps({jar.filename: _note(partial / jar.filename, jar) for jar in jars}))
    partial.rename(cache)


def _fetched(missing: list[Jar], into: Path, scratch: Path, fetch: FetchJar) -> Iterator[Path]:
    """Yields the path of each missing jar once it has arrived and its hash is right."""

    def one(jar: Jar) -> Path:
        return _accept(jar, _arrival(jar, scratch, fetch), into)

    pool = ThreadPoolExecutor(PARALLEL_FETCHES, thread_name_prefix="fetch-jar")
    try:
        for done in as_completed([pool.submit(one, jar) for jar in missing]):
            yield done.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _arrival(jar: Jar, scratch: Path, fetch: FetchJar) -> Path:
    """Fetch the jar and return its path. It retries a few times: one lost connection should not end the whole fetch."""
    for attempt in range(1, TRIES + 1):
        try:
            # each try has its own folder, since the client takes a partial file of the last try for the jar
            return fetch(jar, scratch / f"try-{attempt}")
        except Exception as error:  # the client raises any error of its HTTP library
            if attempt == TRIES:
                raise LocalServerError(
                    f"cannot fetch {jar.filename} of Apache Kafka: {_brief(error)}; {WHAT_TO_DO}"
                ) from error
        time.sleep(TRY_AGAIN_AFTER_S * attempt)
    raise AssertionError("unreachable")


def _accept(jar: Jar, arrived: Path, into: Path) -> Path:
    found = _sha256(arrived)
    if found != jar.sha256:
        raise LocalServerError(
            f"refused {jar.filename} ({jar.coordinate}): its SHA-256 is {found}, the locked one is {jar.sha256}. "
            "The fetched file is not the one that this version was built with: check your Maven repository, "
            "or give a cluster of your own with --kafka HOST:PORT"
        )
    place = into / jar.filename
    unfinished = place.with_name(f"{jar.filename}.unfinished")
    shutil.copyfile(arrived, unfinished)
    unfinished.replace(place)
    return place


def _maven() -> FetchJar:
    """A fetcher that uses the Maven client, which takes jars from the user's own Maven cache if they are there."""
    try:
        from jgo.config import GlobalSettings
        from jgo.constants import MAVEN_CENTRAL_URL
        from jgo.maven import MavenContext
    except ImportError as error:
        raise LocalServerError(
            "Apache Kafka cannot be fetched without the extra `local`, which is not installed",
            f"{install_extra('local')}, or give a cluster of your own with --kafka HOST:PORT",
        ) from error
    settings = GlobalSettings.load()
    remotes = {"central": MAVEN_CENTRAL_URL, **settings.repositories}

    def fetch(jar: Jar, scratch: Path) -> Path:
        group, artifact, version, *classifier = jar.coordinate.split(":")
        context = MavenContext(
            repo_cache=scratch, local_repos=[settings.repo_cache], remote_repos=remotes, timeout=TIMEOUT_S
        )
        component = context.project(group, artifact).at_version(version)
        arrived: Path = component.artifact(classifier[0] if classifier else "", "jar").resolve()
        return arrived

    return fetch


@contextlib.contextmanager
def _alone(lock: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the file lock; the kernel releases it when this process ends."""
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process is fetching Apache Kafka: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_right(path: Path, jar: Jar) -> bool:
    return path.is_file() and _sha256(path) == jar.sha256


def _note(path: Path, jar: Jar) -> tuple[int, int, str]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, jar.sha256


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _brief(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."
