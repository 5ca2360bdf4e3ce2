"""`policy check`, `show`, `dump` and `diff`: validate a policy, show its content, and compare two.

A policy is named by its file or by the name of a preset; `policy try` is in `gate.cli.policy_try`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gate.cli.addresses import AdminFlag, StateFlag, admin_url, resolve_addresses
from gate.cli.http_json import admin_token, get_text
from gate.cli.output import Output, OutputFlag, emit, result, say
from gate.core.policy import Unit
from gate.errors import PolicyInvalid, redact

if TYPE_CHECKING:
    from gate.core.policy import Policy


FileArgument = Annotated[Path, typer.Argument(help="Policy file (TOML), or the name of a preset.", metavar="FILE")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    from gate.cli.policy_try import try_policy

    group = typer.Typer(
        help="Check, show, compare and try policies.",
        epilog="Example: upload-gate policy diff policy.toml raid",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.command(name="check")(check)
    group.command(name="show")(show)
    group.command(name="dump")(dump)
    group.command(name="diff")(diff)
    group.command(name="try")(try_policy)
    app.add_typer(group, name="policy")


def check(file: FileArgument, output: OutputFlag = Output.TEXT) -> None:
    """Check a policy file. Each complaint names file, line and key. The exit code is 2 if there is a complaint.

    Example: upload-gate policy check policy.toml
    """
    from gate.policyfile import check_policy, policy_text
    from gate.policyfile.other_file import other_file

    text, name = policy_text(file)
    if (other := other_file(text, "policy")) is not None:
        raise PolicyInvalid(name, None, "", other)
    policy, complaints = check_policy(text, name)
    if output is Output.JSON:
        emit({
            "file": str(file),
            "valid": policy is not None,
            "hash": None if policy is None else policy.hash,
            "complaints": [{"line": c.line, "key": c.key, "problem": str(c)} for c in complaints],
        })  # fmt: skip
    elif policy is not None:
        result(f"{file} is valid, policy {policy.hash}")
    for complaint in complaints:
        say(str(complaint))
    if policy is None:
        raise typer.Exit(PolicyInvalid.exit_code)


def show(
    file: Annotated[Path | None, typer.Argument(help="Policy file; the shipped one otherwise.", metavar="FILE")] = None,
    output: OutputFlag = Output.TEXT,
) -> None:
    """Show the content of a policy: classes, thresholds, limits, reasons.

    Example: upload-gate policy show -o json
    """
    from gate.policyfile import load_policy

    policy = load_policy(file)
    if output is Output.JSON:
        emit(as_json(policy))
    else:
        result(*policy_lines(policy))


def dump(
    file: Annotated[
        Path | None,
        typer.Argument(help="Policy file or preset; the policy in force at the gate otherwise.", metavar="[FILE]"),
    ] = None,
    output: OutputFlag = Output.TEXT,
    state: StateFlag = None,
    admin: AdminFlag = None,
) -> None:
    """Print a policy with every default written out, as a policy file with the same hash.

    Without FILE it is the policy in force at the running gate, through its admin port.

    Example: upload-gate policy dump > policy.toml
    """
    from gate.policyfile import load_policy_file, parse_policy_file
    from gate.policyfile.toml_text import toml_text

    if file is not None:
        loaded, source = load_policy_file(file), str(file)
    else:
        addresses = resolve_addresses(state, admin=admin)
        url = f"{admin_url(addresses)}/v1/policy/document"
        loaded, source = parse_policy_file(get_text(url, admin_token()), redact(url)), redact(url)
    if output is Output.JSON:
        emit({"hash": loaded.policy.hash, "source": source, "policy": dict(loaded.document)})
    else:
        result(f"# policy {loaded.policy.hash}, from {source}", *toml_text(loaded.document).splitlines(), wraps=False)


def diff(
    before: Annotated[Path, typer.Argument(help="Policy file or preset.", metavar="A")],
    after: Annotated[Path, typer.Argument(help="Policy file or preset.", metavar="B")],
    output: OutputFlag = Output.TEXT,
) -> None:
    """Print what changes for uploaders when policy A is replaced by policy B, key by key.

    Defaults that are written out, comments and layout make no difference. Where fewer uploads pass the line ends with
    "tighter", where more pass with "looser". The exit code is 0 whether they differ or not.

    Example: upload-gate policy diff policy.toml raid
    """
    from gate.policyfile import load_policy_file
    from gate.policyfile.differences import differences

    one, other = load_policy_file(before), load_policy_file(after)
    found = differences(one.document, other.document)
    if output is Output.JSON:
        emit({
            "before": one.policy.hash,
            "after": other.policy.hash,
            "differences": [
                {"key": d.key, "before": d.before, "after": d.after, "effect": d.effect.value} for d in found
            ],
        })  # fmt: skip
        return
    say(f"from {before} (policy {one.policy.hash}) to {after} (policy {other.policy.hash})")
    result(*([each.text for each in found] or ["the policies are the same"]))


def as_json(policy: Policy) -> dict[str, object]:
    """A policy as JSON. Rates are units per second, bursts are units."""
    return {
        "hash": policy.hash,
        "default_class": policy.default_class,
        "reasons": list(policy.reasons),
        "controls": {
            "second_person": sorted(policy.second_person),
            "machines_platform_wide": policy.machines_platform_wide,
            "alone_for_seconds": policy.alone_us / 1_000_000,
            "pauses_unknown": policy.pauses_unknown.value,
        },
        "reservations": {
            "lifetime_seconds": policy.upload_lifetime_us / 1_000_000,
            "unreported": "give_back" if policy.unreported_returns else "keep",
        },
        "classes": {
            name: {
                "review": t.review,
                "challenge": t.challenge,
                "deny": t.deny,
                **({"assumed_bytes": policy.assumed_bytes[name]} if name in policy.assumed_bytes else {}),
            }
            for name, t in policy.thresholds.items()
        },
        "limits": [
            {
                "name": limit.name,
                "on": limit.subject.value,
                "unit": limit.unit.value,
                "mode": limit.mode.value,
                "on_store_error": limit.on_store_error.value,
                "kinds": sorted(limit.kinds),
                "lease": "auto" if limit.lease is None else limit.lease,
                "reserved": dict(limit.reserved),
                "rates": {
                    class_: {"rate": rate.rate, "per_seconds": rate.per_us / 1_000_000, "burst": rate.burst}
                    for class_, rate in limit.rates.items()
                },
            }
            for limit in policy.limits
        ],
    }


def policy_lines(policy: Policy) -> list[str]:
    """A policy as lines for people, with sizes in KiB, MiB, GiB or TiB."""
    from gate.core.duration import duration_text

    lines = [f"policy {policy.hash}, default class {policy.default_class}", f"reasons: {', '.join(policy.reasons)}"]
    rules = ", ".join(sorted(policy.second_person)) or "nothing"
    lines.append(f"a second person is needed for: {rules}")
    if policy.second_person and policy.alone_us:
        lines.append(f"the person who sets a pause acts alone for its first {duration_text(policy.alone_us)}")
    for name, t in policy.thresholds.items():
        steps = [
            f"{step} at {at:g}"
            for step, at in (("review", t.review), ("challenge", t.challenge), ("deny", t.deny))
            if at
        ]
        lines.append(f"class {name}: {', '.join(steps) or 'no score refuses'}")
    for limit in policy.limits:
        lines.append(
            f"limit {limit.name} on {limit.subject.value} ({limit.mode.value}, {limit.on_store_error.value} on store error)"
            + (f" for {', '.join(sorted(limit.kinds))}" if limit.kinds else "")
        )
        if limit.reserved:
            parts = ", ".join(f"{share:g} for {class_}" for class_, share in limit.reserved.items())
            lines.append(f"  reserved: {parts}")
        for class_, rate in limit.rates.items():
            if limit.unit is Unit.IN_FLIGHT:
                lines.append(f"  {class_}: {rate.burst:,} in flight at once")
                continue
            lines.append(
                f"  {class_}: {amount_text(rate.rate, limit.unit)} per {duration_text(rate.per_us)}, "
                f"burst {amount_text(rate.burst, limit.unit)}"
            )
    return lines


def amount_text(count: int, unit: Unit) -> str:
    """A rate or a burst for people: `40 uploads`, `2 GiB`, `1.5 MiB`."""
    if unit is not Unit.BYTES:
        return f"{count:,} {unit.value.removesuffix('s') if count == 1 else unit.value}"
    for name, size in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.4g} {name}"
    return f"{count} bytes"
