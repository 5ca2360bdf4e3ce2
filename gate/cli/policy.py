"""`policy check` and `policy show`: validate a policy file, and show its content."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gate.cli.output import Output, OutputFlag, emit, result, say
from gate.core.policy import Unit
from gate.errors import PolicyInvalid

if TYPE_CHECKING:
    from gate.core.policy import Policy


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Check and show policy files.", no_args_is_help=True, rich_markup_mode=None)
    group.command(name="check")(check)
    group.command(name="show")(show)
    app.add_typer(group, name="policy")


def check(
    file: Annotated[Path, typer.Argument(help="Policy file (TOML).", metavar="FILE")], output: OutputFlag = Output.TEXT
) -> None:
    """Check a policy file. Each complaint names file, line and key. The exit code is 2 if there is a complaint.

    Example: upload-gate policy check policy.toml
    """
    from gate.policyfile import check_policy

    policy, complaints = check_policy(_text(file), str(file))
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
    file: Annotated[
        Path | None, typer.Argument(help="Policy file; the packaged one otherwise.", metavar="FILE")
    ] = None,
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


def as_json(policy: Policy) -> dict[str, object]:
    """A policy as JSON. Rates are units per second, bursts are units."""
    return {
        "hash": policy.hash,
        "default_class": policy.default_class,
        "reasons": list(policy.reasons),
        "controls": {
            "second_person": sorted(policy.second_person),
            "machines_platform_wide": policy.machines_platform_wide,
        },
        "classes": {
            name: {"review": t.review, "challenge": t.challenge, "deny": t.deny}
            for name, t in policy.thresholds.items()
        },
        "limits": [
            {
                "name": limit.name,
                "on": limit.subject.value,
                "unit": limit.unit.value,
                "mode": limit.mode.value,
                "on_store_error": limit.on_store_error.value,
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
        )
        for class_, rate in limit.rates.items():
            lines.append(
                f"  {class_}: {amount_text(rate.rate, limit.unit)} per {duration_text(rate.per_us)}, "
                f"burst {amount_text(rate.burst, limit.unit)}"
            )
    return lines


def amount_text(count: int, unit: Unit) -> str:
    """A rate or a burst for people: `40 uploads`, `2 GiB`, `1.5 MiB`."""
    if unit is not Unit.BYTES:
        return f"{count:,} {unit.value}"
    for name, size in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.4g} {name}"
    return f"{count} bytes"


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise PolicyInvalid(str(file), None, "", f"cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise PolicyInvalid(str(file), None, "", "is not UTF-8 text") from error
