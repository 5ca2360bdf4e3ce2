"""Labels (media kind, surface, country, class) in the one form in which they are compared. Pure text to text.

Two labels that a person reads as the same word are equal after folding, on a pause as on an upload.
"""

from __future__ import annotations

import unicodedata

_IGNORED_RANGES = (
    (0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F),
    (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
)  # fmt: skip
"""Unicode's default-ignorable code points: a reader does not see them."""


def fold_label(text: str) -> str:
    """`text` as labels are compared: NFKC, without invisible characters and outer spaces, without case."""
    if text.isascii():
        return text.strip().lower()
    shown = "".join(char for char in unicodedata.normalize("NFKC", text) if not _is_ignored(char))
    return unicodedata.normalize("NFKC", shown.casefold()).strip()


def fold_country(text: str) -> str:
    """A country code as it is compared: folded as every label is, in upper case."""
    return fold_label(text).upper()


def _is_ignored(char: str) -> bool:
    code = ord(char)
    return any(first <= code <= last for first, last in _IGNORED_RANGES)
