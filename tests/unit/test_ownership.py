"""Files that a command line run by root shares with a gate of another user."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from gate.ports.audit import AuditEntry, AuditOutcome
from gate.stores.disk.audit_file import AuditFile
from gate.stores.disk.break_glass import rewrite
from gate.stores.disk.ownership import GROUP_ONLY, file_mode, make_folder, open_shared, replace_shared
from gate.stores.disk.tokens import TokenFile

GATE = (12_345, 23_456) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
"""The user and group of the gate: another one than root's where the tests run as root."""


def gates_folder(path: Path, mode: int) -> Path:
    path.mkdir()
    os.chown(path, *GATE)
    path.chmod(mode)
    return path


def whose(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_uid, status.st_gid


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize(
    ("folder_mode", "file", "private"),
    [(0o700, 0o600, 0o600), (0o750, 0o640, 0o640), (0o2770, 0o660, 0o660), (0o755, 0o644, 0o640)],
)
def test_every_file_of_a_state_directory_is_the_gates_whoever_wrote_it(
    tmp_path: Path, folder_mode: int, file: int, private: int
) -> None:
    home = gates_folder(tmp_path / "state", folder_mode)
    log = AuditFile(home, "host-1", lambda: 1_800_000_000_000_000, pytest.fail)

    rewrite(home / "break-glass.json", lambda data, at_us: b"{}")
    log.record(AuditEntry("pause", "ann", AuditOutcome.DONE, "p-1", None, None))
    log.mark_sent(log.unsent(1)[1])

    assert {path.name: mode(path) for path in home.iterdir()} == {
        "break-glass.json": file, "break-glass.json.lock": file, "audit.jsonl": private, "audit.sent": private
    }  # fmt: skip
    assert {whose(path) for path in home.iterdir()} == {GATE}


def test_a_missing_state_directory_belongs_to_the_owner_of_the_folder_above(tmp_path: Path) -> None:
    above = gates_folder(tmp_path / "gate", 0o755)

    make_folder(above / "state" / "host-1")

    assert (whose(above / "state"), whose(above / "state" / "host-1")) == (GATE, GATE)


def test_a_break_glass_file_of_root_alone_becomes_the_gates_with_the_next_change(tmp_path: Path) -> None:
    home = gates_folder(tmp_path / "state", 0o700)
    left = home / "break-glass.json"
    left.write_bytes(b"{}")
    left.chmod(0o400)

    rewrite(left, lambda data, at_us: b'{"pauses":[]}')

    assert (whose(left), mode(left), left.read_bytes()) == (GATE, 0o600, b'{"pauses":[]}')


def test_a_lock_for_tokens_is_one_that_the_next_user_can_take(tmp_path: Path) -> None:
    home = gates_folder(tmp_path / "state", 0o770)

    TokenFile(home / "tokens.json").change(lambda tokens: tokens)

    assert (whose(home / "tokens.json.lock"), mode(home / "tokens.json.lock")) == (GATE, 0o660)


def test_an_audit_log_that_exists_keeps_the_owner_and_the_mode_that_people_gave_it(tmp_path: Path) -> None:
    home = gates_folder(tmp_path / "state", 0o755)
    path = home / "audit.jsonl"
    path.write_bytes(b"before\n")
    path.chmod(0o604)
    mine = whose(path)

    with open_shared(path, GROUP_ONLY) as file:
        file.write(b"after\n")

    assert (whose(path), mode(path), path.read_bytes()) == (mine, 0o604, b"before\nafter\n")


def test_a_link_that_was_laid_in_the_folder_is_neither_followed_nor_given_away(tmp_path: Path) -> None:
    home = gates_folder(tmp_path / "state", 0o777)
    secret = tmp_path / "shadow"
    secret.write_bytes(b"root")
    secret.chmod(0o600)
    mine = whose(secret)
    (home / f".break-glass.json.{os.getpid()}.draft").symlink_to(secret)
    (home / "break-glass.json.lock").symlink_to(secret)

    replace_shared(home / "break-glass.json", b"{}")
    rewrite(home / "break-glass.json", lambda data, at_us: b"{}")

    assert (secret.read_bytes(), whose(secret), mode(secret)) == (b"root", mine, 0o600)
    assert not (home / "break-glass.json").is_symlink()


def test_nobody_may_write_a_file_for_everybody() -> None:
    assert [oct(file_mode(0o1777)), oct(file_mode(0o777, GROUP_ONLY)), oct(file_mode(0o000))] == [
        "0o664",
        "0o660",
        "0o600",
    ]


def test_a_failed_replacement_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    home = gates_folder(tmp_path / "state", 0o755)
    (home / "break-glass.json").mkdir()

    with pytest.raises(OSError, match="directory"):
        replace_shared(home / "break-glass.json", b"{}")

    assert [path.name for path in home.iterdir()] == ["break-glass.json"]
