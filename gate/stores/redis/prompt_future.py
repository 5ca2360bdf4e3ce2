"""A future that can go on with the work that awaits it at once, instead of in the next turn of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class PromptFuture(asyncio.Future[Any]):
    """A future with one callback that `finish` calls itself. Otherwise it is called as any other, in the next turn."""

    __slots__ = ("_prompt",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._prompt: Callable[[PromptFuture], object] | None = None

    def add_prompt_callback(self, callback: Callable[[PromptFuture], object]) -> None:
        """`add_done_callback` for code that may also run within `finish`, so outside of a task."""
        self._prompt = callback
        self.add_done_callback(callback)

    def finish(self, result: object) -> None:
        """`set_result`, and call the prompt callback now. The event loop handles an exception that it raises."""
        prompt = self._prompt
        if prompt is None:
            self.set_result(result)
            return
        self.remove_done_callback(prompt)
        self.set_result(result)
        try:
            prompt(self)
        except Exception as error:
            context = {"message": "unexpected error in work that went on at once", "exception": error, "future": self}
            self.get_loop().call_exception_handler(context)
