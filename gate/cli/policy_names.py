"""Which classes and reasons a pause may name: the running gate's policy, else the policy file, else the packaged one."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gate.cli.addresses import Addresses
from gate.cli.http_json import get_json
from gate.cli.output import say
from gate.errors import OperatorError, UploadGateError

ASK_DEADLINE_S = 1.0


@dataclass(frozen=True, slots=True)
class PolicyNames:
    """Names the policy declares, and where it was read."""

    classes: tuple[str, ...]
    reasons: tuple[str, ...]
    source: str

    def check(self, classes: Iterable[str], reason: str) -> None:
        """Raises OperatorError, listing what there is, for a class or reason the policy does not declare."""
        for kind, given, known in (("class", classes, self.classes), ("reason", [reason], self.reasons)):
            for name in given:
                if name not in known:
                    raise OperatorError(
                        f"{kind} {name!r} is not declared by {self.source}", f"it has: {', '.join(known)}"
                    )


def policy_names(addresses: Addresses) -> PolicyNames:
    """What the system at `addresses` declares. Raises PolicyInvalid where only a broken file is left to ask."""
    try:
        answer = get_json(f"{addresses.admin}/v1/policy", ASK_DEADLINE_S)
        if isinstance(answer, dict) and answer.get("classes") and answer.get("reasons"):
            return PolicyNames(tuple(answer["classes"]), tuple(answer["reasons"]), "the gate's policy")
    except UploadGateError:
        pass
    from gate.policyfile import load_policy

    file = os.environ.get("UPLOAD_GATE_POLICY")
    policy = load_policy(Path(file).expanduser() if file else None)
    source = f"the policy {file}" if file else "the packaged policy"
    say(f"note: the gate's admin port does not tell its policy; names are checked against {source}")
    return PolicyNames(policy.classes, policy.reasons, source)
