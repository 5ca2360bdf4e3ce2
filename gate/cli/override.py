"""`override`: staff let an account in, refuse it, or give it the limits of a class, until an expiry.

The commands write to Redis, which every check reads, so an override holds from the next check on. Redis keeps its reason,
its owner and its expiry; the audit log keeps who set or removed it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from gate.cli.account_id import account_id
from gate.cli.addresses import Addresses, RedisFlag, StateFlag, resolve_addresses
from gate.cli.board_access import YesFlag, audit_log, person, record_failed
from gate.cli.identity import login_identity
from gate.cli.new_override import new_override, overrides_in
from gate.cli.output import Output, OutputFlag, cancel, confirmed, counted, emit, instant, result, say
from gate.cli.policy_names import unknown_class
from gate.core.duration import left_text
from gate.core.override import Override
from gate.errors import OperatorError, StoreUnavailable, UploadGateError
from gate.ports.audit import AuditEntry, AuditOutcome
from gate.ports.boards import CLOCKS_AGREE_US

if TYPE_CHECKING:
    from gate.stores.redis.overrides import RedisOverrideStore

MOST_LISTED: Final = 10_000
SHOWN: Final = 20
SET: Final = "override set"
REMOVE: Final = "override remove"
WITHOUT_REDIS: Final = (
    "Overrides are in Redis alone, and gates go on with those that they know: repeat it once Redis answers. To refuse "
    "accounts until then, type `upload-gate pause --accounts FILE --enforce --direct kafka`"
)

T = TypeVar("T")
ByFlag = Annotated[str | None, typer.Option("--by", "--owner", help="Who decides; default as in `pause`.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help="Let in or refuse single accounts, or give them other limits, until an expiry.",
        epilog='Example: upload-gate override set a-17 --allow --for 7d --reason "a journalist"',
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    for name, command in (
        ("set", set_), ("show", show), ("list", list_), ("remove", remove), ("import", import_),
    ):  # fmt: skip
        group.command(name=name)(command)
    app.add_typer(group, name="override")


def set_(
    account: Annotated[str, typer.Argument(help="Account id.")],
    for_: Annotated[str, typer.Option("--for", help="How long it holds, such as 7d; required.")],
    reason: Annotated[str, typer.Option("--reason", "-m", help="Why, in a few words; required.")],
    allow: Annotated[
        bool, typer.Option("--allow", help="Let the account in, regardless of its score and limits.")
    ] = False,
    deny: Annotated[bool, typer.Option("--deny", help="Refuse the account.")] = False,
    limits: Annotated[
        str | None, typer.Option("--limits", metavar="CLASS", help="Give the account the limits of that class.")
    ] = None,
    by: ByFlag = None,
    yes: YesFlag = False,
    output: OutputFlag = Output.TEXT,
    state: StateFlag = None,
    redis: RedisFlag = None,
) -> None:
    """Let an account in, refuse it, or give it the limits of a class, until an expiry. Replaces its override.

    Example: upload-gate override set a-17 --limits trusted --for 7d --reason "moves her archive"
    """
    addresses = resolve_addresses(state, redis=redis)
    account, who = account_id(account), person(by)
    new_override(allow, deny, limits, for_, reason, who, _own_us())  # a mistake is said before Redis is reached
    (before,), now_us = _before(addresses, SET, who, [account])
    override = new_override(allow, deny, limits, for_, reason, who, now_us)
    if before is not None:
        say(f"it replaces: {sentence(account, before, now_us)}")
    if limits is not None and (unknown := unknown_class(limits, addresses)) is not None:
        say(unknown)
    if not yes and not confirmed(f"{sentence(account, override, now_us)}. Set it?"):
        raise cancel()
    entries = [_entry(SET, override.owner, account, before, override)]
    _change(addresses, entries, lambda store: _put(store, [(account, override)]), now_us)
    if output is Output.JSON:
        emit(as_json(account, override))
    else:
        result(sentence(account, override, now_us))


def show(
    account: Annotated[str, typer.Argument(help="Account id.")],
    output: OutputFlag = Output.TEXT,
    state: StateFlag = None,
    redis: RedisFlag = None,
) -> None:
    """Show the override of an account.

    Example: upload-gate override show a-17
    """
    account = account_id(account)
    found, now_us = override_of(resolve_addresses(state, redis=redis), account)
    if output is Output.JSON:
        emit({"account": account, "override": None if found is None else as_json(account, found)})
    else:
        result(f"{account} has no override" if found is None else sentence(account, found, now_us))


def list_(output: OutputFlag = Output.TEXT, state: StateFlag = None, redis: RedisFlag = None) -> None:
    """List all overrides, those first that expire first.

    Example: upload-gate override list
    """
    found, now_us = _run(
        resolve_addresses(state, redis=redis), lambda store: _timed(store.all_overrides(MOST_LISTED), store)
    )
    ordered = sorted(found.items(), key=lambda item: (item[1].expires_at_us, item[0]))
    if output is Output.JSON:
        emit({"overrides": [as_json(account, override) for account, override in ordered]})
    else:
        result(
            *(sentence(account, override, now_us) for account, override in ordered)
            if ordered
            else ("no account has an override",)
        )


def remove(
    account: Annotated[str, typer.Argument(help="Account id.")],
    by: ByFlag = None,
    yes: YesFlag = False,
    output: OutputFlag = Output.TEXT,
    state: StateFlag = None,
    redis: RedisFlag = None,
) -> None:
    """Remove the override of an account before it expires.

    Example: upload-gate override remove a-17 --yes
    """
    addresses, account = resolve_addresses(state, redis=redis), account_id(account)
    who = person(by)
    (found,), now_us = _before(addresses, REMOVE, who, [account])
    if found is None:
        missing = OperatorError(f"{account} has no override", "see all with: upload-gate override list")
        record_failed(addresses, REMOVE, who, missing, account=account)
        raise missing
    if not yes and not confirmed(f"{sentence(account, found, now_us)}. Remove it?"):
        raise cancel()
    entries = [_entry(REMOVE, who, account, found, None)]
    (removed,) = _change(addresses, entries, lambda store: _remove(store, account), now_us)
    if output is Output.JSON:
        emit({"account": account, "removed": removed is not None})
    else:
        result(f"{account} has no override any more")


def import_(
    file: Annotated[Path, typer.Argument(help="File of JSON lines, or a CSV file.", metavar="FILE")],
    by: ByFlag = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be set.")] = False,
    yes: YesFlag = False,
    output: OutputFlag = Output.TEXT,
    state: StateFlag = None,
    redis: RedisFlag = None,
) -> None:
    """Set the overrides in a file. The command reads the whole file and shows it before it sets anything.

    A line is {"account":"a-17","for":"7d","reason":"…"} with one of "allow":true, "deny":true, "limits":"CLASS". A CSV file
    has these names as its columns, such as account,for,reason,limits. What `override list -o json` printed is set again, each
    override until the end that it had.

    Example: upload-gate override import photographers.jsonl --dry-run
    """
    who = person(by)
    own_us = _own_us()
    wanted = overrides_in(file, who, own_us)  # a mistake is said before Redis is reached
    addresses = resolve_addresses(state, redis=redis)
    _, now_us = _before(addresses, SET, who, ())
    if abs(now_us - own_us) > CLOCKS_AGREE_US:
        wanted = overrides_in(file, who, now_us)
    classes = {override.limits for _, override in wanted if override.limits is not None}
    say(*(warning for name in sorted(classes) if (warning := unknown_class(name, addresses)) is not None))
    known, _ = _before(addresses, SET, who, [account for account, _ in wanted])
    replaced = sum(before is not None for before in known)
    say(*(sentence(account, override, now_us) for account, override in wanted[:SHOWN]))
    overrides = counted(len(wanted), "override")
    more = f"the first {SHOWN} of {overrides}" if len(wanted) > SHOWN else overrides
    say(f"{more}; {replaced:,} of them replace{'s' if replaced == 1 else ''} an earlier one" if replaced else more)
    is_set = not dry_run
    if is_set and not yes and not confirmed(f"Set {overrides}?"):
        raise cancel()
    if is_set:
        entries = [
            _entry(SET, override.owner, account, before, override)
            for (account, override), before in zip(wanted, known, strict=True)
        ]
        _change(addresses, entries, lambda store: _put(store, wanted), now_us)
    if output is Output.JSON:
        emit({"overrides": len(wanted), "replaced": replaced, "set": is_set})
    else:
        are = "is" if len(wanted) == 1 else "are"
        result(f"{overrides} {are} set" if is_set else f"nothing was set; {overrides} would be")


def override_of(addresses: Addresses, account: str) -> tuple[Override | None, int]:
    """The override of an account, and the clock of Redis. Raises StoreUnavailable if Redis cannot be read."""
    (found,), now_us = _run(addresses, lambda store: _timed(store.overrides([account]), store))
    return found, now_us


def sentence(account: str, override: Override, now_us: int) -> str:
    """An override in one sentence, at `now_us` by the clock of Redis, by which it ends."""
    does = "is let in" if override.allow else "is refused"
    if override.limits is not None:
        does = f"has the limits of class {override.limits}"
    left = left_text(override.expires_at_us - now_us)
    return f"{account} {does} for {left}, by {override.owner}: {override.reason}"


def as_json(account: str, override: Override) -> dict[str, object]:
    """An override as JSON."""
    kind = "allow" if override.allow else "deny"
    return {
        "account": account,
        "override": "limits" if override.limits is not None else kind,
        "limits": override.limits,
        "reason": override.reason,
        "owner": override.owner,
        "expires_at": instant(override.expires_at_us),
    }


def _entry(act: str, by: str, account: str, before: Override | None, after: Override | None) -> AuditEntry:
    return AuditEntry(act, by, AuditOutcome.DONE, "", before, after, account=account, identity=login_identity())


def _before(addresses: Addresses, act: str, by: str, accounts: Sequence[str]) -> tuple[list[Override | None], int]:
    """The overrides that are there before a change, and the clock of Redis. An attempt that fails here is recorded too."""
    try:
        return _run(addresses, lambda store: _timed(store.overrides(accounts), store))
    except UploadGateError as error:
        record_failed(addresses, act, by, error, account=accounts[0] if len(accounts) == 1 else "")
        raise


def _change(
    addresses: Addresses, entries: Sequence[AuditEntry],
    act: Callable[[RedisOverrideStore], Coroutine[Any, Any, list[Override | None]]], now_us: int,
) -> list[Override | None]:  # fmt: skip
    """Change overrides, and write to the audit log what was done or failed. Returns what each was before the change.

    An operator who set one after this command had read it is named: the last one to write decides.
    """
    log = audit_log(addresses)
    try:
        replaced = _run(addresses, act)
    except BaseException as error:  # Ctrl-C too: of a file the first ones may be set
        said = str(error) or f"interrupted ({type(error).__name__}); it may have been written"
        log.record_all(replace(entry, outcome=AuditOutcome.FAILED, detail=said) for entry in entries)
        raise
    log.record_all(replace(entry, before=before) for entry, before in zip(entries, replaced, strict=True))
    unknown = [
        f"warning: set meanwhile and replaced by this change: {sentence(entry.account, before, now_us)}"
        for entry, before in zip(entries, replaced, strict=True)
        if before is not None and before != entry.before
    ]
    say(*unknown[:SHOWN])
    return replaced


def _own_us() -> int:
    return time.time_ns() // 1000


async def _timed(reading: Awaitable[T], store: RedisOverrideStore) -> tuple[T, int]:
    """What is read, and the clock of Redis, by which overrides begin and end: this host's own may be wrong."""
    return await reading, await store.now_us()


async def _put(store: RedisOverrideStore, wanted: Sequence[tuple[str, Override]]) -> list[Override | None]:
    return [await store.put_override(account, override) for account, override in wanted]


async def _remove(store: RedisOverrideStore, account: str) -> list[Override | None]:
    return [await store.remove_override(account)]


def _run(addresses: Addresses, act: Callable[[RedisOverrideStore], Coroutine[Any, Any, T]]) -> T:
    async def run() -> T:
        from gate.stores.redis.overrides import RedisOverrideStore

        store = RedisOverrideStore(addresses.redis, prefix=addresses.prefix)
        try:
            return await act(store)
        except StoreUnavailable as error:
            raise StoreUnavailable(error.problem.rstrip("."), error.remedy or WITHOUT_REDIS) from error
        finally:
            await store.close()

    return asyncio.run(run())
