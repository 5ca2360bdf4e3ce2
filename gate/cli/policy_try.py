"""`policy try`: runs a candidate policy in shadow on the live traffic of running gates, and prints what would change."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from gate.cli.addresses import StateFlag, admin_url, resolve_addresses
from gate.cli.http_json import admin_token, get_json, send
from gate.cli.output import Output, OutputFlag, emit, result, say
from gate.errors import OperatorError, StoreUnavailable, UploadGateError, redact

LOOK_EVERY_S = 1.0
SAY_EVERY_S = 15.0
KINDS_SHOWN = 20
FAILED = 1
Trial = dict[str, Any]
_WHY_ENDED = {
    "fault": "comparing a check failed, which upload_gate_faults_total counts at `trial`; the uploads before it count",
    "request": "somebody else ended it",
    "time": "its time is over by the gate's clock",
    None: "the gate does not say why",
}


def try_policy(
    file: Annotated[Path, typer.Argument(help="The candidate: a policy file or a preset.", metavar="FILE")],
    for_: Annotated[str, typer.Option("--for", help="How long to try it, such as 10m; at most 24h.")] = "10m",
    admin: Annotated[
        list[str] | None, typer.Option("--admin", help="Base URL of a gate's admin port; repeat it for more gates.")
    ] = None,
    output: OutputFlag = Output.TEXT,
    state: StateFlag = None,
) -> None:
    """Run a policy in shadow beside the one in force: it takes no tokens and refuses nobody.

    Each gate that is named tries it on its own traffic. At the end, or after Ctrl-C, the command prints how many uploads
    the candidate would decide differently, by class and reason, with a few uploads of each kind. Limits that the
    candidate changes begin with full buckets, so let a trial run longer than the longest `per` that you change. Uploads that
    a gate decides while its Redis does not answer are counted and not compared. The exit code is 1 if a trial failed.

    Example: upload-gate policy try raid --for 30m
    """
    from gate.core.duration import parse_duration_us
    from gate.policyfile import parse_policy, policy_text

    try:
        span_us = parse_duration_us(for_, "24h")
    except ValueError as error:
        raise OperatorError(f"--for: {error}") from None
    text, name = policy_text(file)
    policy = parse_policy(text, name)
    urls = [url.rstrip("/") for url in admin or ()] or [admin_url(resolve_addresses(state))]
    body = text.encode()
    begun: list[str] = []
    try:
        for url in urls:
            send("POST", f"{url}/v1/policy/trial?for={for_}", body, "application/toml", token=admin_token())
            begun.append(url)
        where = ", ".join(map(redact, urls))
        say(f"trying policy {policy.hash} on the traffic of {where} for {for_}; Ctrl-C ends the trial and prints it")
        _await_end(urls, span_us / 1e6)
    finally:
        ended = [_ended(url) for url in begun]
    total = merged([trial for trial in ended if trial is not None])
    if output is Output.JSON:
        emit(total)
    else:
        result(*trial_lines(total))
    if "fault" in total["ended"]:
        raise typer.Exit(FAILED)


def _await_end(urls: list[str], span_s: float) -> None:
    """Wait until the trials are over, with a line now and then, and with one for each that ends early. Ctrl-C ends the wait."""
    began = said = time.monotonic()
    running = list(urls)
    latest: dict[str, Trial] = {}
    lost: set[str] = set()
    try:
        while running and (now := time.monotonic()) - began < span_s:
            time.sleep(min(LOOK_EVERY_S, max(0.0, span_s - (now - began))))
            is_early = time.monotonic() - began < span_s - LOOK_EVERY_S
            running = [url for url in running if goes_on(url, latest, lost, is_early)]
            if now - said >= SAY_EVERY_S:
                said = now
                say(progress_line(merged([*latest.values()])))
    except KeyboardInterrupt:
        say("")


def goes_on(url: str, latest: dict[str, Trial], lost: set[str], is_early: bool) -> bool:
    """Whether the trial at a gate runs; notes its counts in `latest`, and says once why it ended or cannot be read."""
    try:
        trial = latest[url] = _trial(get_json(f"{url}/v1/policy/trial", token=admin_token()))
    except StoreUnavailable as error:
        if url not in lost:
            lost.add(url)
            say(f"warning: the trial at {redact(url)} cannot be read now: {error}")
        return True
    except UploadGateError as error:  # it has no trial any more, as after a restart
        say(f"warning: the trial at {redact(url)} is lost: {error}")
        return False
    lost.discard(url)
    if not trial.get("running") and is_early:
        say(f"the trial at {redact(url)} ended early: {_WHY_ENDED.get(trial.get('ended'), _WHY_ENDED[None])}")
    return bool(trial.get("running"))


def _ended(url: str) -> Trial | None:
    """The result of the trial at one gate, which ends; None, with a warning, if the gate does not answer."""
    try:
        return _trial(send("DELETE", f"{url}/v1/policy/trial", token=admin_token()))
    except UploadGateError as error:
        say(f"warning: the trial at {redact(url)} could not be ended, it ends by itself: {error}")
        return None


def _trial(answer: object) -> Trial:
    if not isinstance(answer, dict) or "differences" not in answer:
        raise UploadGateError("the answer is no policy trial", "is it the admin port of a gate?")
    return answer


def merged(trials: list[Trial]) -> Trial:
    """The trials of several gates as one."""
    counts: Counter[tuple[str, ...]] = Counter()
    samples: dict[tuple[str, ...], list[object]] = {}
    names = ("class", "decision", "reason", "would", "would_reason")
    for trial in trials:
        for each in trial["differences"]:
            kind = tuple(str(each[name]) for name in names)
            counts[kind] += each["count"]
            samples.setdefault(kind, []).extend(each["samples"])
    return {
        "policy": trials[0]["policy"] if trials else None,
        "in_force": sorted({trial["in_force"] for trial in trials}),
        "ended": sorted({trial["ended"] for trial in trials if trial.get("ended")}),
        "gates": len(trials),
        "checks": sum(trial["checks"] for trial in trials),
        "without_store": sum(trial.get("without_store", 0) for trial in trials),
        "different": sum(counts.values()),
        "differences": [
            {**dict(zip(names, kind, strict=True)), "count": count, "samples": samples[kind][:5]}
            for kind, count in counts.most_common()
        ],
    }


def progress_line(total: Trial) -> str:
    """A running trial in one line."""
    line = f"{total['different']:,} of {total['checks']:,} uploads would be decided differently so far"
    without = total["without_store"]
    return f"{line}; {without:,} more were not compared, as Redis does not answer" if without else line


def trial_lines(total: Trial) -> list[str]:
    """A finished trial as lines for people."""
    checks, different = total["checks"], total["different"]
    in_force = ", ".join(total["in_force"]) or "unknown"
    share = f" ({different / checks:.1%})" if checks else ""
    lines = [
        f"policy {total['policy']} beside {in_force}: {different:,} of {checks:,} uploads would be decided differently{share}"
    ]
    for each in total["differences"][:KINDS_SHOWN]:
        lines.append(
            f"  {each['count']:>7,}  {each['class']}: {each['decision']} ({each['reason']}) would be "
            f"{each['would']} ({each['would_reason']})"
        )
        shown = ", ".join(f"{sample['upload_id']} of {sample['account']}" for sample in each["samples"][:2])
        lines.append(f"           such as {shown}")
    if len(total["differences"]) > KINDS_SHOWN:
        lines.append(f"  {len(total['differences']) - KINDS_SHOWN} more kinds; -o json prints all")
    without = total["without_store"]
    if without:
        verb, them = ("was", "it") if without == 1 else ("were", "them")
        nothing = f"the trial says nothing about {them}" if checks else "the trial says nothing"
        lines.append(f"{without:,} more {verb} decided while Redis did not answer, and not compared: {nothing}")
    elif not checks:
        lines.append("no upload was checked meanwhile")
    return lines
