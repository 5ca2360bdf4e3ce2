"""The flags of `pause`, each with its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gate.cli.completion import class_names, known_values, reason_names
from gate.core.pause.scope import Action, InFlight

Many = list[str] | None

ClassesFlag = Annotated[
    Many, typer.Option("--class", "-c", help="Account class, such as new; may be repeated.", autocompletion=class_names)
]
SurfaceFlag = Annotated[
    Many,
    typer.Option(help="Surface uploaded to, such as story; may be repeated.", autocompletion=known_values("surface")),
]
KindFlag = Annotated[
    Many, typer.Option(help="Media kind, such as image; may be repeated.", autocompletion=known_values("kind"))
]
CountryFlag = Annotated[Many, typer.Option(help="Country, such as DE; may be repeated.")]
YoungerThanFlag = Annotated[str | None, typer.Option(help="Accounts created less than this ago, such as 7d.")]
RiskFromFlag = Annotated[float | None, typer.Option(help="Accounts with at least this risk, from 0 to 1.")]
AccountsFlag = Annotated[
    Path | None,
    typer.Option(
        help="File of account ids, one a line; lines that begin with # are left out. The pause only counts until it is "
        "enforced."
    ),
]
PlatformWideFlag = Annotated[bool, typer.Option("--all", help="Platform-wide: every upload.")]
ActionFlag = Annotated[Action, typer.Option(help="What to do with uploads that it matches.")]
FactorFlag = Annotated[float, typer.Option(help="For throttle: the share of minutes in which an account may upload.")]
OnlyVerifiedFlag = Annotated[bool, typer.Option("--only-verified", help="Short for --action allow-only.")]
PercentFlag = Annotated[int, typer.Option(help="Hold only this percentage of accounts, always the same ones.")]
ExceptClassFlag = Annotated[
    Many, typer.Option(help="Leave this class alone; may be repeated.", autocompletion=class_names)
]
ExceptSurfaceFlag = Annotated[Many, typer.Option(help="Leave this surface alone; may be repeated.")]
ExceptKindFlag = Annotated[Many, typer.Option(help="Leave this kind alone; may be repeated.")]
ExceptCountryFlag = Annotated[Many, typer.Option(help="Leave this country alone; may be repeated.")]
ExceptAccountsFlag = Annotated[Path | None, typer.Option(help="Leave the accounts of this file alone.")]
ExceptVerifiedFlag = Annotated[bool, typer.Option("--except-verified", help="Leave verified accounts alone.")]
InFlightFlag = Annotated[InFlight, typer.Option(help="Uploads under way: drain lets them end, abort holds them.")]
CountOnlyFlag = Annotated[
    bool, typer.Option("--count-only", help="Hold nothing, and count the uploads that it would hold.")
]
EnforceFlag = Annotated[
    bool, typer.Option("--enforce", help="With --accounts: hold them at once, without counting first.")
]
ForFlag = Annotated[
    str | None,
    typer.Option(
        "--for", help="How long: 90s, 10m, 1h30m; at most 24h for one person.", show_default="4h, a machine's 60s"
    ),
]
StartInFlag = Annotated[str | None, typer.Option(help="Begin later, such as 30m from now.")]
RampFlag = Annotated[
    str | None, typer.Option(help="Let accounts back over this time after the pause; 0 lets all back at once.")
]
ReasonFlag = Annotated[
    str, typer.Option("--reason", "-r", help="One of the policy's reasons, such as raid.", autocompletion=reason_names)
]
MessageFlag = Annotated[str, typer.Option("--message", "-m", help="What happened, for your colleagues.")]
IncidentFlag = Annotated[str, typer.Option(help="Link to the incident.")]
PublicFlag = Annotated[
    str, typer.Option("--public", help="What answers tell the uploaders (`message`); at most 500 characters.")
]
PublicLinkFlag = Annotated[str, typer.Option("--public-link", help="A link for uploaders, beside --public (`link`).")]
DryRunFlag = Annotated[bool, typer.Option("--dry-run", help="Say what it would do, and write nothing.")]
