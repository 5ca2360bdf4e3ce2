"""The bounds of what a pause tells uploaders: a short text that steers no terminal or page, and a link to more of it."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

MAX_PUBLIC: Final = 500
"""Longest text and link, in characters."""
_JOINERS: Final = str.maketrans("", "", "\u200c\u200d")
"""Scripts such as Persian and many emoji need these two, which do not count as printable."""


def public_problem(text: str) -> str | None:
    """Why `text` cannot be shown to uploaders; None if it can. An empty text shows nothing."""
    if len(text) > MAX_PUBLIC:
        return f"is longer than {MAX_PUBLIC} characters"
    return None if text.translate(_JOINERS).isprintable() else "has a character that cannot be shown"


def link_problem(link: str) -> str | None:
    """Why `link` cannot be given to uploaders; None if it can. An empty link is none."""
    if not link:
        return None
    if len(link) > MAX_PUBLIC:
        return f"is longer than {MAX_PUBLIC} characters"
    if not link.isprintable() or " " in link:
        return "has a character that a link cannot have"
    try:
        parts = urlsplit(link)
        is_whole = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        is_whole = False
    return None if is_whole else "is not a link that begins with https:// and names a host"
