"""Describes a caption by its shape only: its template, its layout, and its share of capitals. It uses no vocabulary.

Every caption of the platform passes through here, so the code uses operations of C on whole strings, and does most of
the work only if the caption holds more than letters and spaces.
"""

from __future__ import annotations

import re
from string import ascii_letters
from unicodedata import is_normalized, normalize
from zlib import crc32

from gate.core.fields.text import without_ignorables

MAX_CHARS = 500
PIECE_CHARS = 64
LINK, MENTION, TAG, LONG = 8, 4, 2, 1
"""The bits of a layout."""
LONG_CHARS = 70
VERY_LONG_CHARS = 100
TEMPLATE_BYTES = 40
FULL_POINTS = 6.0
USUAL_WORD, LONGEST_WORD = 5.0, 9.0
"""ASCII characters for each space, from what people write to what holds addresses and codes."""

_LETTERS = ascii_letters.encode()
_PLAIN = _LETTERS + b" ,\n"
_DIGITS = b"0123456789"
_CAPITALS = bytes(range(65, 91))
_LOWER = bytes(range(256)).lower()
# letters, and all beyond ASCII, become a, digits 0; the rest stays
_CLASS = bytes(97 if chr(byte).isalpha() or byte > 127 else 48 if 48 <= byte <= 57 else byte for byte in range(256))
_BEYOND = bytes(range(128, 256))
_VARYING = re.compile(rb"(?:https?://|www\.|[@#])\S+", re.IGNORECASE)
_FOREIGN_MONEY = re.compile("[£€¥₹₽₿]")


def read(caption: str) -> tuple[int, int, float]:
    """The caption's template as a 32-bit hash, its layout as one of 16 and its spamminess in [0, 1].

    The template is how it begins, without links, names, tags, numbers and capitals. Spamminess is how much it looks
    like an advertisement. Both judge the first 500 characters.
    """
    if not caption.isascii():
        caption = as_shown(caption)
    size = len(caption)
    head = caption if size <= MAX_CHARS else caption[:MAX_CHARS]
    raw = head.encode()
    layout = LONG if size > LONG_CHARS else 0
    points = 0.5 if size > VERY_LONG_CHARS else 0.0
    marks = raw.translate(None, _PLAIN)
    if marks:
        layout |= (MENTION if b"@" in marks else 0) | (TAG if b"#" in marks else 0)
        if b"://" in raw or b"www." in raw:
            layout |= LINK
        points += _pointed(head, raw, marks, layout)
    is_lower = head.islower()
    if not is_lower:
        points += _shouted(raw)
    # other scripts have words of their own
    plain = len(raw) if not marks or head.isascii() else len(raw.translate(None, _BEYOND))
    word = plain / (raw.count(b" ") + 1)
    if word > USUAL_WORD:
        points += (word - USUAL_WORD) / (LONGEST_WORD - USUAL_WORD) if word < LONGEST_WORD else 1.0
    spam = points / FULL_POINTS if points < FULL_POINTS else 1.0
    if layout > LONG:
        raw = _VARYING.sub(b"~", raw)
    if marks or not is_lower:
        raw = raw.translate(_LOWER, _DIGITS)
    return crc32(raw[:TEMPLATE_BYTES]), layout, spam


def as_shown(caption: str) -> str:
    """The beginning of a caption as a reader sees it: styled letters as plain ones, without invisible characters."""
    head = without_ignorables(caption[: 4 * MAX_CHARS])[: MAX_CHARS + 1]
    if is_normalized("NFKC", head):
        return head
    shown = ""
    for at in range(0, len(head), PIECE_CHARS):
        shown += normalize("NFKC", head[at : at + PIECE_CHARS])
        if len(shown) > MAX_CHARS:  # one character can become eighteen
            break
    return shown[: MAX_CHARS + 1]


def _pointed(text: str, raw: bytes, marks: bytes, layout: int) -> float:
    """Points for numbers, above all long ones, for links and dotted names, for money and exclamation."""
    points = 0.0
    digits = len(marks) - len(marks.translate(None, _DIGITS))
    shape = raw.translate(_CLASS) if digits > 3 or b"." in marks else b""
    if digits:
        points += 0.1 * digits if digits < 10 else 1.0
        if b"0000" in shape:
            points += 1.2
    if layout & LINK or b"a.a" in shape:
        points += 1.2
    if b"$" in marks or b"%" in marks or (not text.isascii() and _FOREIGN_MONEY.search(text)):
        points += 1.5
    if b"!" in marks:
        points += min(1.0, marks.count(b"!") / 3.0)
    return points


def _shouted(raw: bytes) -> float:
    """Points for capitals beyond a tenth of the letters."""
    capitals = len(raw) - len(raw.translate(None, _CAPITALS))
    if capitals <= 8:
        return 0.0
    letters = len(raw) - len(raw.translate(None, _LETTERS))
    return min(1.0, max(0.0, capitals / letters - 0.1) * 3.0)
