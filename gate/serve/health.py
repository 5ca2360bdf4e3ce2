"""The content of `/readyz`, `/metrics` and the admin port's pages: the gate's own state. It changes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import msgspec

from gate.app.check import Check
from gate.app.operate import last_drill_us
from gate.app.watch import Watch
from gate.core.pause.four_eyes import unapproved_end_us
from gate.errors import StateUnreadable
from gate.metrics import CONTENT_TYPE, Gauges, exposition, gate_registry
from gate.policyfile.toml_text import toml_text
from gate.ports.clock import Clock
from gate.records.board_page import board_page
from gate.serve.policy_in_force import PolicyInForce

_encode = msgspec.json.Encoder(order="deterministic").encode


class Health:
    """Reads `check` and `watch`. `dropped` returns how many decisions the log has lost, `store_down` why takes fail.

    `policy` is None where nothing reloads the policy.
    """

    def __init__(
        self, check: Check, watch: Watch, clock: Clock, dropped: Callable[[], int],
        store_down: Callable[[], str | None], policy: PolicyInForce | None = None,
    ) -> None:  # fmt: skip
        self._check = check
        self._watch = watch
        self._clock = clock
        self._dropped = dropped
        self._store_down = store_down
        self._policy = policy
        self._controls_age: Callable[[], float] | None = None
        self.lease_held: Callable[[], Mapping[tuple[str, str], int]] = dict
        """What this gate's leases hold, by entity and limit."""
        self.salt_differs: Callable[[], bool] = lambda: False
        """Whether the stream workers have another salt."""
        self._started_us = clock.now_us()
        self._registry = gate_registry(check.counts, self.gauges)

    @property
    def watch(self) -> Watch:
        """The watcher, which keeps the board fresh."""
        return self._watch

    @property
    def clock(self) -> Clock:
        """The gate's clock."""
        return self._clock

    def follow(self, controls_age: Callable[[], float]) -> None:
        """Show the age of the second channel, which `controls_age` returns in seconds."""
        self._controls_age = controls_age

    def gauges(self) -> Gauges:
        """The values of the gauges now."""
        board = self._watch.board
        active = [pause for pause in board.active(self._watch.store_now_us()) if pause.id not in board.lifted]
        glass = sum(pause.active(self._clock.now_us()) for pause in board.break_glass)
        times = os.times()
        return Gauges(
            pauses_active=len(active) + glass,
            break_glass_active=glass,
            board_rev=board.rev,
            board_age_s=self._watch.age_us() / 1e6,
            board_unreadable_parts=self._watch.unreadable_parts,
            policy=self._check.policy.hash,
            policy_refused=self._policy_problem is not None,
            salt_differs=self.salt_differs(),
            dropped=self._dropped(),
            started_s=self._started_us / 1e6,
            cpu_s=times.user + times.system,
            drilled_s=last_drill_us(board.pauses.values()) / 1e6,
            unapproved_end_s=unapproved_end_us(active) / 1e6,
            lease_held=self.lease_held(),
            controls_age_s=0.0 if self._controls_age is None else self._controls_age(),
        )

    @property
    def _policy_problem(self) -> str | None:
        """Why the policy file is not in force; None while it is."""
        return None if self._policy is None else self._policy.problem

    def metrics(self) -> tuple[bytes, bytes]:
        """Content type and text for a scraper."""
        return CONTENT_TYPE.encode(), exposition(self._registry)

    def ready(self) -> bytes:
        """The state of the gate's dependencies. It is always ready: without a store it decides by its failure modes."""
        down = self._store_down()
        said = self._watch.acknowledgement()
        known = "last known" if self._watch.pauses_known else "unknown"
        board = "fresh" if self._watch.reachable else known
        return _encode(
            {
                "gate": said.gate,
                "ready": True,
                "degraded": down is not None or board != "fresh",
                "account_store": "answers" if down is None else down,
                "board": board,
                "board_age_s": round(self._watch.age_us() / 1e6, 3),
                "board_rev": said.rev,
                "board_digest": said.digest,
                "board_latest": said.latest,
                "board_lifted": said.lifted,
                "board_on_disk": said.on_disk,
                "store_us": said.store_us,
                "policy": self._check.policy.hash,
                "policy_problem": self._policy_problem,
                "salt_differs": self.salt_differs(),
                "instances": self._check.instances,
            }
        )

    def board(self) -> bytes:
        """The pauses in force and those that are over, as `board_page` writes them."""
        watch = self._watch
        said = {
            "age_s": round(watch.age_us() / 1e6, 3),
            "store_answers": watch.reachable,
            "on_disk": watch.on_disk,
            "clock_known": watch.clock_known,
            "pauses_known": watch.pauses_known,
            "acknowledges": watch.acknowledges,
            "controls_age_s": None if self._controls_age is None else round(self._controls_age(), 3),
            "break_glass_problems": watch.break_glass_problems,
            "lifted": sorted(watch.board.lifted),
        }
        return board_page(watch.board, watch.store_now_us(), said, self._clock.now_us())

    def policy(self) -> bytes:
        """The policy in force. Accounts on the deny list are counted, not named."""
        policy = self._check.policy
        public = [field.name for field in fields(policy) if not field.name.startswith("_")]
        shown: dict[str, Any] = {name: getattr(policy, name) for name in public}
        shown["deny_accounts"] = len(policy.deny_accounts)
        shown["known"] = {field: sorted(values) for field, values in policy.known.listed.items()}
        shown["thresholds"] = {
            class_: {"review": each.review, "challenge": each.challenge, "deny": each.deny}
            for class_, each in policy.thresholds.items()
        }
        shown["problem"] = self._policy_problem
        return _encode(shown)

    def policy_document(self) -> bytes:
        """The policy in force as a policy file, with every default written out. It names the accounts of the deny list."""
        if self._policy is None:
            raise StateUnreadable("this gate does not know the document of its policy")
        loaded = self._policy.document
        return f"# policy {loaded.policy.hash}, as it is in force\n{toml_text(loaded.document)}".encode()

    def stats(self) -> bytes:
        """Counters since the start: the number of checks by decision, and all other counters."""
        counts = self._check.counts
        totals: dict[str, int] = {}
        for (decision, *_), value in counts.decisions.items():
            totals[str(decision)] = totals.get(str(decision), 0) + value
        rows = [
            {"decision": decision, "class": class_, "stage": stage, "reason": reason, "count": value}
            for (decision, class_, stage, reason), value in sorted(counts.decisions.items())
        ]
        return _encode(
            {
                "decisions": totals,
                "rows": rows,
                "store_errors": counts.store_errors,
                "rejected": counts.rejected,
                "dry_run": counts.dry_run_pauses,
                "degraded": counts.degraded,
                "shed": counts.shed,
                "dropped": self._dropped(),
                "uptime_s": round((self._clock.now_us() - self._started_us) / 1e6, 3),
            }
        )
