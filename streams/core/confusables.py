"""Letters of other scripts that look like Latin ones, so that a name with them is compared as a reader sees it."""

from __future__ import annotations

from unicodedata import normalize

MAX_LABEL_CHARS = 63
_LOOKS = str.maketrans(
    # Cyrillic, Greek, Armenian and others, each above the Latin letter that it looks like
    "аеорсухіјѕԁһӏкмтвнгпьүԛԝҽ" + "οανρτυκιεηχγωσβμδ" + "օսհոգցվ" + "ɑɡıłøđħŧʟʀɴ",
    "aeopcyxijsdhlkmtbhrnbyqwe" + "oavptukienxywobud" + "ouhngqu" + "agilodhtlrn",
)


def skeleton(label: str) -> str:
    """A label of a host as a reader sees it: `xn--` decoded, without accents, lookalikes as their Latin letters."""
    if label.startswith("xn--"):
        try:
            label = label[4:MAX_LABEL_CHARS].encode().decode("punycode")
        except (UnicodeError, OverflowError):
            return label
    if label.isascii():
        return label
    parts = normalize("NFKD", label.lower().translate(_LOOKS))
    return "".join(mark for mark in parts if not "\u0300" <= mark <= "\u036f").translate(_LOOKS)
