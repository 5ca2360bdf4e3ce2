"""Folds all scripts: maps code points that count as the same letter to one, and each code point to a class.

Folding removes the tricks that hide a caption from a model: case, accents, full width, zero-width and combining marks,
letters that look like Latin ones, digits in place of letters; all digits become one. Tables cover the first two planes
of Unicode; code points beyond them are one class.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint32]

TABLE_SIZE: Final = 0x20000
PAD: Final = 1
"""Stands between two captions, so that no n-gram reads across them."""
OTHER: Final = 2
"""Every code point beyond the tables."""
DIGIT: Final = 48
SPACE: Final = 32
DIGITS_FOR_LETTERS: Final = dict(zip("013457@$!", "oieastasi", strict=True))
_LOOKS_LIKE: Final = dict(zip("аеорсухіјѕԁһӏαοντρυχβℓ", "aeopcyxijsdhlaovtpuxbl", strict=True))
"""One letter for one letter, so that text in the other script loses nothing."""
_INVISIBLE: Final = frozenset(("Cf", "Mn", "Me", "Cc", "Cs"))
_FILLERS: Final = frozenset((0x115F, 0x1160, 0x3164, 0x2800))
_UPPER, _LETTER, _SYMBOL, _REST = 65, 97, 5, 6


@dataclass(frozen=True, slots=True)
class Alphabet:
    """`fold` maps a code point to what it counts as, 0 to nothing; `shape` to its class; `leet` a digit to a letter."""

    fold: Codes
    shape: Codes
    leet: Codes


def build_alphabet() -> Alphabet:
    """The tables, computed from the interpreter's Unicode data in about a quarter of a second."""
    fold = np.fromiter(map(_folded, range(TABLE_SIZE)), np.uint32, TABLE_SIZE)
    shape = np.fromiter(map(_shape, range(TABLE_SIZE)), np.uint32, TABLE_SIZE)
    leet = np.zeros(TABLE_SIZE, np.uint32)
    for digit, letter in DIGITS_FOR_LETTERS.items():
        leet[ord(digit)] = ord(letter)
    fold[PAD] = shape[PAD] = PAD
    return Alphabet(fold, shape, leet)


def _folded(code: int) -> int:
    if code == 0:
        return 0
    char = chr(code)
    if code < 128:
        return _folded_ascii(code, char)
    category = unicodedata.category(char)
    if char.isspace() or category[0] == "Z":
        return SPACE
    if category in _INVISIBLE or 0xFE00 <= code <= 0xFE0F or code in _FILLERS:
        return 0
    plain = "".join(c for c in unicodedata.normalize("NFKD", char).lower() if not unicodedata.combining(c)) or char
    first = _LOOKS_LIKE.get(plain[0], plain[0])
    if first.isspace():
        return SPACE
    if first.isdigit():
        return DIGIT
    return ord(first) if ord(first) < TABLE_SIZE else OTHER


def _folded_ascii(code: int, char: str) -> int:
    if char.isalpha():
        return ord(char.lower())
    if char.isdigit():
        return DIGIT
    return SPACE if char.isspace() else code


def _shape(code: int) -> int:
    char = chr(code)
    category = unicodedata.category(char)
    if category == "Lu":
        return _UPPER
    if category[0] == "L":
        return _LETTER
    if category[0] == "N":
        return DIGIT
    if char.isspace():
        return SPACE
    if code < 128:
        return code
    return _SYMBOL if category == "So" else _REST
