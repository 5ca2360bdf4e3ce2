"""Reads a gate's policy file again when it has changed, and keeps the last good policy if the file is wrong.

The gate acknowledges the hash of its policy with its board, once a second, so that `status` shows which policy each
process has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from gate.app.check import Check
from gate.core.policy import Policy
from gate.errors import PolicyInvalid
from gate.policyfile import PolicyFile, parse_policy_file, policy_text

READ_EVERY_S: Final = 1.0


class PolicyInForce:
    """The policy of `check` and its document. `problem` says why the file on disk is not in force, None while it is.

    `path` is as in `load_policy`; the shipped policy cannot change while a gate runs. `also` is called with each policy
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
        self._again = asyncio.Event()

    @property
    def document(self) -> PolicyFile:
        """The policy in force with its document."""
        return self._loaded

    def reload(self) -> None:
        """Have `watch` read the file now, also if it has not changed."""
        self._read = None
        self._again.set()

    async def watch(self, every_s: float = READ_EVERY_S) -> None:
        """Read the file every `every_s` seconds, and put what changed into force, until cancelled."""
        within_s = None if self._path is None else every_s  # the shipped policy changes only with the package
        while True:
            self._again.clear()
            await self.read()
            with suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await self._again.wait()

    async def read(self) -> None:
        """Read the file, and put it into force if it is valid. The same text is judged once. Never raises."""
        # in a thread: a file on a network may take long, and one that denies many accounts takes long to read
        text = await asyncio.to_thread(_text_of, self._path)
        told = str(text)
        if told == self._read:
            return
        judged = await asyncio.to_thread(_judged, text, str(self._path or "the shipped policy"))
        self._read = told
        self._take(judged)

    def _take(self, judged: PolicyFile | PolicyInvalid) -> None:
        """Put a policy into force. Why one is refused is logged once."""
        if isinstance(judged, PolicyInvalid):
            self.problem = str(judged)
            self._check.counts.policy_rejected += 1
            self._say(f"the policy is not changed, {self._check.policy.hash} stays in force: {judged}")
            return
        was_wrong, self.problem = self.problem is not None, None
        if judged.policy.hash != self._check.policy.hash:
            self._check.policy, self._loaded = judged.policy, judged
            self._also(judged.policy)
            self._say(f"policy {judged.policy.hash} is in force")
        elif was_wrong:
            self._say(f"the policy file is valid again, {judged.policy.hash} stays in force")


def _judged(text: str | PolicyInvalid, name: str) -> PolicyFile | PolicyInvalid:
    if isinstance(text, PolicyInvalid):
        return text
    try:
        return parse_policy_file(text, name)
    except PolicyInvalid as error:
        return error


def _text_of(path: Path | None) -> str | PolicyInvalid:
    try:
        return policy_text(path)[0]
    except PolicyInvalid as error:
        return error
