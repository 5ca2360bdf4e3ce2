"""Reads a gate's policy file again when it has changed, and keeps the last good policy if the file is wrong.

The gate acknowledges the hash of its policy with its board, once a second, so that `status` shows which policy each
process has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gate.app.check import Check
from gate.core.policy import Policy
from gate.errors import PolicyInvalid
from gate.policyfile import PolicyFile, parse_policy_file, policy_text

READ_EVERY_S: Final = 1.0


class PolicyInForce:
    """The policy of `check` and its document. `problem` says why the file on disk is not in force, None while it is.

    `path` is as in `load_policy`; the packaged policy cannot change while a gate runs. `also` is called with each policy
    that comes into force, for what obeys it beside the check.
    """

    def __init__(
        self, path: Path | None, loaded: PolicyFile, check: Check, say: Callable[[str], None],
        also: Callable[[Policy], None] = lambda policy: None,
    ) -> None:  # fmt: skip
        self.problem: str | None = None
        self._path = path
        self._loaded = loaded
        self._check = check
        self._say = say
        self._also = also
        self._read: str | None = None

    @property
    def document(self) -> PolicyFile:
        """The policy in force with its document."""
        return self._loaded

    def reload(self) -> None:
        """Read the file now, and put it into force if it is valid. Never raises."""
        self._read = None
        self._try(_text_of(self._path))

    async def watch(self, every_s: float = READ_EVERY_S) -> None:
        """Read the file every `every_s` seconds, and put what changed into force, until cancelled."""
        if self._path is None:
            await asyncio.Event().wait()
        while True:
            # in a thread: a file on a network may take long
            self._try(await asyncio.to_thread(_text_of, self._path))
            await asyncio.sleep(every_s)

    def _try(self, text: str | PolicyInvalid) -> None:
        """Put `text` into force. The same text is judged once, and why it is refused is logged once."""
        told = str(text)
        if told == self._read:
            return
        self._read = told
        try:
            if isinstance(text, PolicyInvalid):
                raise text
            loaded = parse_policy_file(text, str(self._path or "the packaged policy"))
        except PolicyInvalid as error:
            self.problem = str(error)
            self._check.counts.policy_rejected += 1
            self._say(f"the policy is not changed, {self._check.policy.hash} stays in force: {error}")
            return
        was_wrong, self.problem = self.problem is not None, None
        if loaded.policy.hash != self._check.policy.hash:
            self._check.policy, self._loaded = loaded.policy, loaded
            self._also(loaded.policy)
            self._say(f"policy {loaded.policy.hash} is in force")
        elif was_wrong:
            self._say(f"the policy file is valid again, {loaded.policy.hash} stays in force")


def _text_of(path: Path | None) -> str | PolicyInvalid:
    try:
        return policy_text(path)[0]
    except PolicyInvalid as error:
        return error
