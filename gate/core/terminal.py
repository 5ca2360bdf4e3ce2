"""Makes foreign text safe for a terminal: escapes each character that would move the cursor, colour or reorder text.

Account ids, pause texts and servers' answers are foreign text. A terminal obeys ESC, CR and bidi marks in them.
"""

from __future__ import annotations

import re

_UNFIT = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0, DEL, C1
    "\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"  # bidi marks, line separators, zero widths
    "\ud800-\udfff"  # lone surrogates, which no terminal encoding can represent
    "\ufff9-\ufffb\U000e0000-\U000e007f]"  # annotations and tags, which hide text
)
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\x1b": "\\e"}


def terminal_safe(text: str) -> str:
    """`text` on one line; each character that steers a terminal is an escape instead, such as `\\e` or `\\u202e`."""
    return _UNFIT.sub(_escape, text)


def json_safe(document: str) -> str:
    """A JSON document, indented or not, with those characters as JSON escapes. Its meaning does not change."""
    return _UNFIT.sub(lambda match: match[0] if match[0] == "\n" else _json_escape(match[0]), document)


def _escape(match: re.Match[str]) -> str:
    char = match[0]
    code = ord(char)
    return _SHORT.get(char) or (
        f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    )


def _json_escape(char: str) -> str:
    code = ord(char)
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
