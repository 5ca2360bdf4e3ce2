"""`token new | list | revoke`: makes, lists and takes back the tokens by which services are let at a gate's ports."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer

from gate.cli.addresses import UP_FILE, StateFlag, state_directory
from gate.cli.output import Output, OutputFlag, emit, instant, result, say
from gate.core.service_token import MOST_OF_A_NAME, Access, ServiceToken, of_name, token_digest
from gate.errors import ControlRefused, OperatorError, SettingInvalid

FileFlag = Annotated[
    Path | None,
    typer.Option("--file", help="File of tokens; default UPLOAD_GATE_TOKENS, else tokens.json in the state directory."),
]
NameArgument = Annotated[str, typer.Argument(help="Name of the service that holds the token.", metavar="NAME")]
PauseChange = Callable[[tuple[ServiceToken, ...]], tuple[ServiceToken, ...]]
AdminOption = Annotated[bool, typer.Option("--admin", help="A token for the admin port instead of the check port.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help="Make, list and revoke the tokens of services.",
        epilog="Example: upload-gate token new media-service",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.command(name="new")(new)
    group.command(name="list")(list_)
    group.command(name="revoke")(revoke)
    app.add_typer(group, name="token")


def new(
    name: NameArgument, admin: AdminOption = False, file: FileFlag = None, state: StateFlag = None,
    output: OutputFlag = Output.TEXT,
) -> None:  # fmt: skip
    """Make a token and print it once; only its SHA-256 is kept.

    Two tokens of one name are valid at once. To rotate: make the second, give it to the service, revoke the first. Gates
    on this host read the file within a second; copy it to the other hosts.

    Example: upload-gate token new media-api
    """
    import secrets

    from gate.core.service_token import TOKEN_BYTES, TOKEN_PREFIX
    from gate.records.tokens_document import NAME
    from gate.serve.clock import SystemClock

    if NAME.fullmatch(name) is None:
        raise OperatorError(f"{name[:80]!r} cannot name a token", "use small letters, digits and . _ -, at most 64")
    access = Access.ADMIN if admin else Access.CHECK
    text = TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    made = ServiceToken(name, access, token_digest(text.encode()), SystemClock().now_us())

    def added(tokens: tuple[ServiceToken, ...]) -> tuple[ServiceToken, ...]:
        known = of_name(tokens, name, access)
        if len(known) >= MOST_OF_A_NAME:
            raise ControlRefused(
                f"{name} has {len(known)} valid tokens for the {access} port",
                f"revoke the older one first: upload-gate token revoke {known[0].id}",
            )
        return (*tokens, made)

    before = _any_for(token_file(file, state), access)
    path = _change(file, state, added)
    if access is Access.CHECK and not before:
        say(*_closes_for_traffic(path.parent))
    say(f"token {made.id} of {name} opens the {access} port of the gates that read {path}; it is not shown again")
    if output is Output.JSON:
        emit({"name": name, "id": made.id, "access": access.value, "token": text})
    else:
        result(text, wraps=False)


def list_(file: FileFlag = None, state: StateFlag = None, output: OutputFlag = Output.TEXT) -> None:
    """List the valid tokens by name, without the tokens themselves, which are not stored.

    Example: upload-gate token list -o json
    """
    from gate.stores.disk.tokens import TokenFile

    path = token_file(file, state)
    tokens = sorted(TokenFile(path).read() or (), key=lambda token: (token.access, token.name, token.made_at_us))
    if output is Output.JSON:
        listed = [
            {"name": each.name, "id": each.id, "access": each.access.value, "made_at": instant(each.made_at_us)}
            for each in tokens
        ]
        emit({"tokens": listed})
        return
    result(*(f"{each.id}  {each.access:<5}  {each.name}  made {instant(each.made_at_us)}" for each in tokens))
    if not tokens:
        say(f"{path} holds no token: gates on loopback answer everyone, others do not start")


def revoke(
    token: Annotated[
        str, typer.Argument(help="A token's id, or a name, all of whose tokens are revoked.", metavar="ID|NAME")
    ],
    file: FileFlag = None,
    state: StateFlag = None,
) -> None:
    """Take a token back. Gates on this host refuse it within a second; copy the file to the other hosts.

    Example: upload-gate token revoke 3f9a01bc
    """
    from gate.stores.disk.tokens import TokenFile

    gone: list[ServiceToken] = []

    def without(tokens: tuple[ServiceToken, ...]) -> tuple[ServiceToken, ...]:
        gone.extend(each for each in tokens if token in (each.id, each.name))
        if not gone:
            known = ", ".join(sorted({f"{each.name} ({each.id})" for each in tokens})) or "none"
            raise OperatorError(f"no token has the id or name {token[:80]}", f"valid are: {known}")
        return tuple(each for each in tokens if each not in gone)

    path = _change(file, state, without)
    left = TokenFile(path).read() or ()
    for access in sorted({each.access for each in gone} - {each.access for each in left}):
        say(
            f"warning: no token is left for the {access} port. Running gates refuse every request "
            "there. A gate that starts on loopback needs no token; beyond loopback it does not start"
        )
    say(*_taken_from_traffic(path.parent, gone))
    for each in gone:
        result(f"token {each.id} of {each.name} for the {each.access} port is revoked in {path}")


def _closes_for_traffic(state: Path) -> list[str]:
    """A warning where `up` runs with this state directory, whose uploads carried no token until now."""
    from gate.local.plan import TRAFFIC_TOKEN

    if not (state / UP_FILE).exists():
        return []
    return [
        "warning: from now on the gate refuses checks without a token, those of the simulated traffic of `upload-gate up` "
        f"too; it takes a token from {state / TRAFFIC_TOKEN}"
    ]


def _taken_from_traffic(state: Path, gone: Iterable[ServiceToken]) -> list[str]:
    """A warning where the traffic of `up` with this state directory carries one of the tokens that are revoked."""
    from gate.local.plan import TRAFFIC_TOKEN

    file = state / TRAFFIC_TOKEN
    try:
        digest = token_digest(file.read_bytes().strip())
    except OSError:
        return []
    if all(each.digest != digest for each in gone):
        return []
    return [f"warning: the simulated traffic of `upload-gate up` carries this token; write another one into {file}"]


def _any_for(path: Path, access: Access) -> bool:
    from gate.stores.disk.tokens import TokenFile

    return any(each.access is access for each in TokenFile(path).read() or ())


def token_file(file: Path | None, state: Path | None) -> Path:
    """The file of tokens: by flag, by UPLOAD_GATE_TOKENS, else in the state directory."""
    named = os.environ.get("UPLOAD_GATE_TOKENS")
    if file is not None:
        return file
    return Path(named).expanduser() if named else state_directory(state, os.environ)[0] / "tokens.json"


def _change(file: Path | None, state: Path | None, act: PauseChange) -> Path:
    from gate.stores.disk.tokens import TokenFile

    path = token_file(file, state)
    try:
        TokenFile(path).change(act)
    except OSError as error:
        raise SettingInvalid(f"{path} cannot be written: {error.strerror or error}") from None
    return path
