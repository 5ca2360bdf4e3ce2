"""The public suffix list as the installed package brings it along, and the reader of links that goes by it."""

from __future__ import annotations

from importlib.resources import files

from streams.core.weblinks import WebLinks


def load_web_links() -> WebLinks:
    """A reader of links; loading the list takes 50 ms."""
    return WebLinks((files("publicsuffixlist") / "public_suffix_list.dat").read_text("utf-8"))
