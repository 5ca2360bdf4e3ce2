"""A Scorecard → the text of its file, which reads back as an equal one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gate.core.duration import UNIT_US
from gate.core.terminal import terminal_safe
from streams.core.features import FEATURES, PLACE
from streams.core.scorecard import UNIT, AbuseKind, Monotone, Scorecard, Term


def scorecard_text(card: Scorecard, about: Sequence[str] = ()) -> str:
    """The file, with `about` as comments at its top. A comment may name files, so what no comment can hold is escaped."""
    lines = [f"# {terminal_safe(line)}".rstrip() for line in about]
    lines += [
        "version = 2",
        f"base_rate = {card.base_rate!r}",
        f"training_share = {card.training_share!r}",
        f"slope = {card.slope!r}",
        f"offset = {card.offset!r}",
        f"alone_at_most = {card.alone_at_most!r}",
    ]
    if card.half_life_us:
        lines += ["", "[decay]", f'half_life = "{_duration(card.half_life_us)}"']
    if card.lower_caps:
        lines += ["", "[caps]", *(f"{family} = {cap!r}" for family, cap in card.lower_caps.items())]
    for term in card.terms:
        lines += ["", *_term(term)]
    return "\n".join(lines) + "\n"


def _term(term: Term) -> list[str]:
    lines = ["[[terms]]"]
    two = len(term.features) == 2
    unknown = [FEATURES[PLACE[feature]].may_be_unknown for feature in term.features]
    quoted = [f'"{feature}"' for feature in term.features]
    lines.append(f"features = [{', '.join(quoted)}]" if two else f"feature = {quoted[0]}")
    if FEATURES[PLACE[term.features[0]]].family != term.family:
        lines.append(f'family = "{term.family}"')
    if term.kind is not AbuseKind.BOTH:
        lines.append(f'kind = "{term.kind}"')
    lines.append(f'speaks = "{term.speaks}"')
    if any(monotone is not Monotone.EITHER for monotone in term.monotone):
        stated = ", ".join(f'"{monotone}"' for monotone in term.monotone)
        lines.append(f"monotone = [{stated}]" if two else f"monotone = {stated}")
    rows = term.rows
    if not two:
        lines += [f"cuts = {_numbers(term.cuts[0])}", f"points = {_points(rows[0][:-1])}"]
        return lines + ([f"missing = {_point(rows[0][-1])}"] if unknown[0] else [])
    lines += [f"cuts = [{', '.join(map(_numbers, term.cuts))}]", "points = ["]
    lines += [f"  {_points(row[:-1])}," for row in rows[:-1]]
    lines.append("]")
    if unknown[0]:
        lines.append(f"missing_first = {_points(rows[-1][:-1])}")
    if unknown[1]:
        lines.append(f"missing_second = {_points(row[-1] for row in rows[:-1])}")
    if all(unknown):
        lines.append(f"missing_both = {_point(rows[-1][-1])}")
    return lines


def _numbers(numbers: Iterable[float]) -> str:
    return f"[{', '.join(repr(number).removesuffix('.0') for number in numbers)}]"


def _points(points: Iterable[int]) -> str:
    return f"[{', '.join(map(_point, points))}]"


def _point(points: int) -> str:
    return f"{points / UNIT:.4f}".rstrip("0").removesuffix(".")


def _duration(half_life_us: int) -> str:
    for name in ("h", "m", "s"):
        if half_life_us % UNIT_US[name] == 0:
            return f"{half_life_us // UNIT_US[name]}{name}"
    return f"{half_life_us // 1_000}ms"
