"""Completes the values of flags in the shell with the names of the policy in force, while a gate answers at once."""

from __future__ import annotations

from collections.abc import Callable

import typer

from gate.errors import UploadGateError

COMPLETE_WITHIN_S = 0.3

Completion = Callable[[typer.Context, str], list[str]]


def _policy(context: typer.Context) -> dict[str, object]:
    from gate.cli.addresses import resolve_addresses
    from gate.cli.http_json import admin_token, get_json

    try:
        admin = resolve_addresses(context.params.get("state"), admin=context.params.get("admin")).admin
        answer = None if admin is None else get_json(f"{admin}/v1/policy", COMPLETE_WITHIN_S, admin_token())
    except UploadGateError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _starting(names: object, incomplete: str) -> list[str]:
    return [str(name) for name in names if str(name).startswith(incomplete)] if isinstance(names, list) else []


def class_names(context: typer.Context, incomplete: str) -> list[str]:
    """The classes of the policy."""
    return _starting(_policy(context).get("classes"), incomplete)


def reason_names(context: typer.Context, incomplete: str) -> list[str]:
    """The reasons of the policy."""
    return _starting(_policy(context).get("reasons"), incomplete)


def known_values(name: str) -> Completion:
    """The kinds, surfaces or countries that the policy lists."""

    def complete(context: typer.Context, incomplete: str) -> list[str]:
        known = _policy(context).get("known")
        return _starting(known.get(name) if isinstance(known, dict) else None, incomplete)

    return complete
