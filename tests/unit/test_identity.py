"""Whose login runs a command, and that a name alone makes nobody a second person."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from gate.app.operate import Operate
from gate.app.permission import Authority
from gate.cli.identity import login_identity, login_name
from gate.core.pause.four_eyes import TwoPersonRule
from gate.core.pause.scope import Action, Scope
from gate.errors import NotPermitted
from gate.serve.clock import SystemClock
from gate.stores.memory.boards import MemoryBoardStore
from tests.audit_in_memory import MemoryAudit

HOST = socket.gethostname()


@pytest.mark.parametrize(
    ("login", "sudo", "effective", "expected"),
    [
        ("1000", None, 0, 1000),
        ("1000", "1001", 0, 1000),
        ("4294967295", "1001", 0, 1001),
        ("4294967295", "1001", 1002, 1002),
        ("4294967295", "root", 0, 0),
        (None, None, 1002, 1002),
    ],
)
def test_the_login_counts_before_sudo_and_sudo_only_for_root(
    tmp_path: Path, login: str | None, sudo: str | None, effective: int, expected: int
) -> None:
    login_id = tmp_path / "loginuid"
    if login is not None:
        login_id.write_text(login)

    identity = login_identity({} if sudo is None else {"SUDO_UID": sudo}, login_id, lambda: effective)

    assert identity == f"{expected}@{HOST}"


def test_the_login_has_a_name_where_the_kernel_keeps_one(tmp_path: Path) -> None:
    login_id = tmp_path / "loginuid"

    names = []
    for content in ("0", "4294967295", "4000000000"):
        login_id.write_text(content)
        names.append(login_name(login_id))

    assert names == ["root", None, None]


async def test_another_name_from_the_same_login_is_no_second_person() -> None:
    store, audit = MemoryBoardStore(SystemClock()), MemoryAudit()
    rules = frozenset((TwoPersonRule.PLATFORM_WIDE,))

    def acting(identity: str, emergency: str = "") -> Operate:
        authority = Authority(rules, propose=True, emergency=emergency, identity=identity)
        return Operate(store, lambda: "p-1", authority=authority, audit=audit)

    proposed = await acting("1000@ops-1").pause(Scope(), Action.STOP, "raid", "", "ann", 60_000_000)
    with pytest.raises(NotPermitted, match=r"this login \(1000@ops-1\) proposed the change as ann"):
        await acting("1000@ops-1").approve(proposed.id, "bob")
    by_another = await acting("1001@ops-1").approve(proposed.id, "bob")

    assert by_another.proposal is None
    assert [(entry.who, entry.identity, entry.outcome.value) for entry in audit.entries] == [
        ("ann", "1000@ops-1", "proposed"),
        ("bob", "1000@ops-1", "refused"),
        ("bob", "1001@ops-1", "done"),
    ]


async def test_the_emergency_right_approves_what_one_proposed_and_is_logged() -> None:
    store, audit = MemoryBoardStore(SystemClock()), MemoryAudit()
    authority = Authority(frozenset(TwoPersonRule), propose=True, identity="1000@ops-1")
    proposed = await Operate(store, lambda: "p-1", authority=authority).pause(
        Scope(), Action.STOP, "raid", "", "ann", 60_000_000
    )

    alone = Operate(
        store, lambda: "", authority=Authority(emergency="nobody else awake", identity="1000@ops-1"), audit=audit
    )
    approved = await alone.approve(proposed.id, "ann")

    assert approved.proposal is None
    assert approved.emergency == "nobody else awake"
    assert [(entry.emergency, entry.outcome.value) for entry in audit.entries] == [("nobody else awake", "done")]
