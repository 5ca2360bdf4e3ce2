"""Jars are used only if whole and right; a fetch that fails leaves nothing half."""

import hashlib
import os
import threading
import time
from pathlib import Path

import pytest

from gate.errors import LocalServerError
from gate.local.jars import MARKER, Jar, default_cache, fetch_jars, locked_jars

CONTENTS = {f"{name}-1.0.jar": name.encode() * 100 for name in ("alpha", "beta", "gamma")}
JARS = tuple(
    Jar(hashlib.sha256(content).hexdigest(), f"org.example:{filename[:-8]}:1.0", filename)
    for filename, content in CONTENTS.items()
)


class Shelf:
    """A fetcher that hands out prepared files and counts what it was asked for."""

    def __init__(self) -> None:
        self.contents = dict(CONTENTS)
        self.asked: list[str] = []

    def __call__(self, jar: Jar, scratch: Path) -> Path:
        self.asked.append(jar.filename)
        content = self.contents.get(jar.filename)
        if content is None:
            raise ConnectionError("network is unreachable")
        scratch.mkdir(parents=True, exist_ok=True)
        (scratch / jar.filename).write_bytes(content)
        return scratch / jar.filename


def fetched(cache: Path, shelf: Shelf) -> list[str]:
    said: list[str] = []
    fetch_jars(cache, said.append, jars=JARS, fetch=shelf)
    return said


def test_all_jars_arrive_and_progress_is_told(tmp_path: Path) -> None:
    said = fetched(tmp_path / "kafka", Shelf())

    assert {path.name: path.read_bytes() for path in (tmp_path / "kafka").glob("*.jar")} == CONTENTS
    assert said[-1].startswith("fetching Apache Kafka: 3 of 3 jars")


def test_a_whole_cache_is_used_without_asking_anyone(tmp_path: Path) -> None:
    fetched(tmp_path / "kafka", Shelf())
    shelf = Shelf()

    said = fetched(tmp_path / "kafka", shelf)

    assert (shelf.asked, said) == ([], [])


def test_a_jar_that_is_not_the_locked_one_is_refused_by_name(tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.contents["beta-1.0.jar"] = b"something else"

    with pytest.raises(LocalServerError, match=r"refused beta-1\.0\.jar \(org\.example:beta:1\.0\)"):
        fetched(tmp_path / "kafka", shelf)

    assert not (tmp_path / "kafka").exists()


def test_a_fetch_that_failed_goes_on_from_what_had_arrived(tmp_path: Path) -> None:
    shelf = Shelf()
    del shelf.contents["gamma-1.0.jar"]
    with pytest.raises(LocalServerError, match=r"cannot fetch gamma-1\.0\.jar.*unreachable.*--kafka"):
        fetched(tmp_path / "kafka", shelf)
    second = Shelf()

    fetched(tmp_path / "kafka", second)

    assert "gamma-1.0.jar" in second.asked
    assert len(list((tmp_path / "kafka").glob("*.jar"))) == 3
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".lock") == ["kafka"]


def test_one_lost_connection_does_not_end_the_fetch(tmp_path: Path) -> None:
    shelf = Shelf()
    lost: list[str] = []

    def flaky(jar: Jar, scratch: Path) -> Path:
        if jar.filename not in lost:
            lost.append(jar.filename)
            raise TimeoutError("read timed out")
        return shelf(jar, scratch)

    fetch_jars(tmp_path / "kafka", lambda _: None, jars=JARS, fetch=flaky)

    assert sorted(lost) == sorted(shelf.asked) == sorted(CONTENTS)


def test_a_jar_changed_in_the_cache_is_fetched_again_alone(tmp_path: Path) -> None:
    fetched(tmp_path / "kafka", Shelf())
    (tmp_path / "kafka" / "alpha-1.0.jar").write_bytes(b"x" * len(CONTENTS["alpha-1.0.jar"]))
    shelf = Shelf()

    fetched(tmp_path / "kafka", shelf)

    assert shelf.asked == ["alpha-1.0.jar"]
    assert (tmp_path / "kafka" / "alpha-1.0.jar").read_bytes() == CONTENTS["alpha-1.0.jar"]


def test_a_jar_that_was_only_touched_is_read_and_kept(tmp_path: Path) -> None:
    fetched(tmp_path / "kafka", Shelf())
    os.utime(tmp_path / "kafka" / "alpha-1.0.jar", (1, 1))
    shelf = Shelf()

    fetched(tmp_path / "kafka", shelf)

    assert shelf.asked == []


def test_a_cache_without_its_marker_is_not_trusted_but_not_wasted(tmp_path: Path) -> None:
    fetched(tmp_path / "kafka", Shelf())
    (tmp_path / "kafka" / MARKER).unlink()
    shelf = Shelf()

    fetched(tmp_path / "kafka", shelf)

    assert shelf.asked == []
    assert (tmp_path / "kafka" / MARKER).exists()


def test_a_cache_made_by_another_lock_file_is_not_trusted(tmp_path: Path) -> None:
    fetched(tmp_path / "kafka", Shelf())
    newer = (Jar(hashlib.sha256(b"new").hexdigest(), JARS[0].coordinate, JARS[0].filename), *JARS[1:])
    shelf = Shelf()
    shelf.contents[JARS[0].filename] = b"new"

    fetch_jars(tmp_path / "kafka", lambda _: None, jars=newer, fetch=shelf)

    assert shelf.asked == [JARS[0].filename]


def test_fetches_at_once_wait_for_each_other_and_fetch_each_jar_once(tmp_path: Path) -> None:
    shelf = Shelf()

    def slow(jar: Jar, scratch: Path) -> Path:
        time.sleep(0.05)  # widens the window in which the others arrive; nothing waits on it
        return shelf(jar, scratch)

    threads = [
        threading.Thread(target=fetch_jars, args=(tmp_path / "kafka", print), kwargs={"jars": JARS, "fetch": slow})
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(shelf.asked) == sorted(CONTENTS)


def test_a_cache_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(LocalServerError, match="cannot store Apache Kafka's jars in"):
        fetched(tmp_path / "file" / "kafka", Shelf())


def test_the_cache_follows_the_user_s_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/elsewhere")

    assert default_cache().parts[:4] == ("/", "var", "elsewhere", "upload-gate")


def test_the_lock_file_names_each_jar_once_with_a_whole_checksum() -> None:
    jars = locked_jars()

    assert len({jar.filename for jar in jars}) == len(jars) > 40
    assert all(len(bytes.fromhex(jar.sha256)) == 32 for jar in jars)
    assert all(len(jar.coordinate.split(":")) in (3, 4) for jar in jars)
    assert "org.apache.kafka:kafka_2.13:4.1.0" in {jar.coordinate for jar in jars}
