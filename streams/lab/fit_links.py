"""Fits the link model to labelled links.

Lists of abusive and of honest links differ in ways that have nothing to do with abuse: one names hosts, the other whole
addresses; one has many names on shared hosting, the other none. A fit that saw them as they are would learn the
lists. So each link is read in several forms: with and without its path, with a subdomain and without, and as its bare
name, as it would look on shared hosting. Within each form both classes weigh the same, so that the form itself is
no evidence.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gate.errors import OperatorError
from streams.core.models.alphabet import Alphabet
from streams.core.models.link_model import LinkModel, LinkText, link_log_odds
from streams.core.models.name_model import NameModel
from streams.core.models.ngrams import NAME_BITS
from streams.core.weblinks import WebLinks
from streams.files.link_models import link_model
from streams.lab.detection_figures import DetectionFigures, detection_figures
from streams.lab.fit_names import USUAL_WEIGHT, counted, learnt_weight
from streams.lab.fit_texts import LEAST_LABELS, Progress, calibrate, name_matrix, ngram_matrix, quantised
from streams.lab.hashed_regression import hashed_texts, no_weights, regressed, split
from streams.lab.honest_links import SUBDOMAINS, plain_paths
from streams.lab.link_rows import LinkRow
from streams.lab.one_thread import one_thread
from streams.lab.rows import ABUSIVE

MOST_SITES: Final = 130_000
"""Hosts of a source of links that are used; of more a sample is drawn."""
HALF_LIFE_S: Final = 60 * 86_400.0
"""A host that was seen so much earlier than the list's last weighs half, because scams move on."""
LONGEST_HALF_LIFE_S: Final = 8 * HALF_LIFE_S
ENOUGH_RECENT: Final = 12_000.0
"""The least sum of a list's weights by recency for which the half-life stays short. In a short list old hosts are needed:
a fit to few names learns their chance spellings."""
MOST_JUDGED: Final = 8_000
"""Hosts of a source that cross-validation uses: it fits many times."""
FOLDS: Final = 3
STRENGTH: Final = 2.0
EARLIER: Final = 0.7
"""Share of the dated abusive links that the fit sees when the rest judges how it holds up later."""
PLAIN_PATHS: Final = 16_000
ENOUGH_PATHS: Final = 200
"""Honest links with a path from which on a path may add much."""
PATH_BOUNDS: Final = (3.0, 4.0)
HARD_FROM: Final = -1.0
"""Log odds of the first round from which an honest link weighs HARD_WEIGHT times as much in the second."""
HARD_WEIGHT: Final = 4.0
HOSTED_SHARE: Final = 0.15
"""Weight of honest names on shared hosting, relative to abusive ones there."""
_BARE, _BELOW, _HOSTED, _WITH_PATH = 0, 1, 2, 3


@dataclass(frozen=True, slots=True)
class LinkFit:
    """Fitted models of links and of names, and their figures: on sites they did not see, on single links, and on links first
    seen later."""

    model: LinkModel
    names: NameModel
    grouped: DetectionFigures
    random: DetectionFigures
    later: DetectionFigures | None


@dataclass(frozen=True, slots=True)
class _Forms:
    """The forms of some links: what is read of each, its label, and its weight."""

    texts: list[LinkText]
    labels: NDArray[np.int64]
    weights: NDArray[np.float64]


@one_thread()
def fit_links(
    sources: Sequence[Sequence[LinkRow]],
    alphabet: Alphabet,
    web: WebLinks,
    seed: int,
    progress: Progress = lambda share, what: None,
) -> LinkFit:
    """Fit a model to the links of several sources. Sources of one class weigh the same, whatever their sizes.

    All links of a source have one label. Raises OperatorError if a class has links of fewer than 25 sites.
    """
    rng = random.Random(seed)
    rows = [_sample(source, rng) for source in sources if source]
    _require_sites(rows)
    bound = PATH_BOUNDS[_honest_paths(rows) >= ENOUGH_PATHS]
    progress(0.05, "read")
    some = [source[:MOST_JUDGED] for source in rows]
    grouped = _judged(some, _by_site(some, seed), alphabet, bound, seed, lambda x: progress(0.05 + 0.2 * x, "by sites"))
    single = _judged(some, _by_row(some, seed), alphabet, bound, seed, lambda x: progress(0.25 + 0.2 * x, "by links"))
    known, new = _later(rows, seed)
    later = _judged_later(known, new, alphabet, bound, seed)
    weight = USUAL_WEIGHT if later is None else learnt_weight(_flat(known), new, later[1], web)
    progress(0.55, "later")
    slope, shift = calibrate(grouped[1], grouped[0])
    model = _fitted(rows, alphabet, bound, seed, slope, shift, float(grouped[0].mean()))
    names = counted(_flat(rows), web, min(1.0, weight * slope))
    progress(1.0, "done")
    return LinkFit(
        model,
        names,
        detection_figures(grouped[0], slope * grouped[1] + shift),
        detection_figures(single[0], slope * single[1] + shift),
        None if later is None else detection_figures(later[0], slope * later[1] + shift),
    )


def _sample(source: Sequence[LinkRow], rng: random.Random) -> list[LinkRow]:
    """One link of each host, of at most MOST_SITES hosts, in no order."""
    once: dict[tuple[str, bool], LinkRow] = {}
    for row in source:
        key = (row.text.name, row.hosted)
        if key not in once or (row.text.path and not once[key].text.path):
            once[key] = row
    chosen = list(once.values())
    rng.shuffle(chosen)
    return chosen[:MOST_SITES]


def _recency(source: Sequence[LinkRow]) -> list[float]:
    """The weight of each link by when it was first seen; 1 for the list's last and for links without a date.

    The half-life doubles until the weights add up to ENOUGH_RECENT, and is LONGEST_HALF_LIFE_S at most.
    """
    end = max((row.at_s for row in source if row.at_s is not None), default=0.0)
    ages = [0.0 if row.at_s is None else end - row.at_s for row in source]
    half_life = HALF_LIFE_S
    while half_life < LONGEST_HALF_LIFE_S and sum(2.0 ** (-age / half_life) for age in ages) < ENOUGH_RECENT:
        half_life *= 2.0
    return [2.0 ** (-age / half_life) for age in ages]


def _require_sites(rows: Sequence[Sequence[LinkRow]]) -> None:
    for name, label, remedy in (
        ("abusive", 1, "give a longer list of abusive links, or rows that are labelled 1 and have urls"),
        ("honest", 0, "give honest links with --negatives, or rows that are labelled 0 and have urls"),
    ):
        sites = len({row.site for source in rows for row in source if row.label == label})
        if sites < LEAST_LABELS:
            counted = "1 site" if sites == 1 else f"{sites} sites"
            raise OperatorError(
                f"there are {name} links of {counted}, and a fit needs at least {LEAST_LABELS} of each class; "
                "links below one registered domain count as one site",
                remedy,
            )


def _honest_paths(rows: Sequence[Sequence[LinkRow]]) -> int:
    return len({row.site for source in rows for row in source if row.label != ABUSIVE and row.text.path})


def _forms(rows: Sequence[Sequence[LinkRow]], seed: int) -> _Forms:
    rng = random.Random(seed)
    honest = [row.text.path for source in rows for row in source if row.label != ABUSIVE and row.text.path]
    made = plain_paths(len(honest) or PLAIN_PATHS, seed)
    paths = honest + made
    texts: list[LinkText] = []
    labels: list[int] = []
    weights: list[float] = []
    groups: list[tuple[int, int, int]] = []
    for number, source in enumerate(rows):
        sites = Counter(row.site for row in source)
        for row, recency in zip(source, _recency(source), strict=True):
            for text, form in _of_link(row, paths, rng):
                texts.append(text)
                labels.append(row.label)
                weights.append(recency * sites[row.site] ** -0.5)
                groups.append((row.label, form, number))
    return _Forms(texts, np.array(labels, np.int64), _balanced(weights, groups))


def _balanced(weights: Sequence[float], groups: Sequence[tuple[int, int, int]]) -> NDArray[np.float64]:
    """Weights by which a form weighs the same in both classes, shared equally by the sources of a class; 1 on average.

    A group is label, form and source.
    """
    total: dict[tuple[int, int, int], float] = {}
    for group, weight in zip(groups, weights, strict=True):
        total[group] = total.get(group, 0.0) + weight
    sources = Counter((label, form) for label, form, _ in total)
    share = {}
    for (label, form, number), sum_of_group in total.items():
        fewer = HOSTED_SHARE if form % _WITH_PATH == _HOSTED and label != ABUSIVE else 1.0
        share[label, form, number] = fewer / sum_of_group / sources[label, form]
    balanced = np.array([share[group] * weight for group, weight in zip(groups, weights, strict=True)])
    scaled: NDArray[np.float64] = balanced * len(balanced) / balanced.sum()
    return scaled


def _of_link(row: LinkRow, paths: Sequence[str], rng: random.Random) -> list[tuple[LinkText, int]]:
    name, site = row.text.name, row.site
    path = row.text.path or ("" if row.label == ABUSIVE else rng.choice(paths))
    form = _HOSTED if row.hosted else _BELOW if name != site else _BARE
    found = [(LinkText(name, ""), form)]
    if path:
        found.append((LinkText(name, path), form + _WITH_PATH))
    if form == _BELOW and row.label == ABUSIVE:
        found.append((LinkText(site, ""), _BARE))
    if form == _BARE and row.label != ABUSIVE:
        found.append((LinkText(f"{rng.choice(SUBDOMAINS)}.{name}", ""), _BELOW))
    if form != _HOSTED:
        found.append((LinkText(_without_suffix(name, site), ""), _HOSTED))
    return found


def _without_suffix(name: str, site: str) -> str:
    """The name as it would look on shared hosting."""
    suffix = site.partition(".")[2]
    return name[: -len(suffix) - 1] if suffix and len(suffix) < len(name) - 1 else name


def _learn(forms: _Forms, alphabet: Alphabet, bound: float) -> tuple[NDArray[np.float64], float]:
    """Weights by cell, those of names first, for sums divided by the root of a text's number of n-grams.

    A second round gives more weight to the honest links that the first one could not tell well from abuse: few
    of them set the threshold by which abuse is found.
    """
    parts = (
        hashed_texts([text.name for text in forms.texts], lambda names: name_matrix(names, alphabet)),
        hashed_texts([text.path for text in forms.texts], lambda paths: ngram_matrix(paths, alphabet)),
    )
    first = regressed(parts, forms.labels, forms.weights, STRENGTH, no_weights(parts))
    of_name, of_path = (part.values(weights) for part, weights in zip(parts, split(parts, first), strict=True))
    doubtful = of_name + np.clip(of_path, -bound, bound) + first[-1] > HARD_FROM
    hard = forms.weights * np.where((forms.labels == 0) & doubtful, HARD_WEIGHT, 1.0)
    second = regressed(parts, forms.labels, hard * len(hard) / hard.sum(), STRENGTH, first)
    tables = [part.table(weights) for part, weights in zip(parts, split(parts, second), strict=True)]
    return np.concatenate(tables), float(second[-1])


def _fitted(
    rows: Sequence[Sequence[LinkRow]],
    alphabet: Alphabet,
    bound: float,
    seed: int,
    slope: float = 1.0,
    shift: float = 0.0,
    share: float = 0.5,
) -> LinkModel:
    forms = _forms(rows, seed)
    weights, intercept = _learn(forms, alphabet, bound)
    table, scale = quantised(weights * slope)
    cells = 1 << NAME_BITS
    prior = float(np.log(share / (1.0 - share)))
    return link_model(
        table[:cells].copy(), table[cells:].copy(), scale, slope * intercept + shift, slope * bound, prior
    )


Folds = list[NDArray[np.int64]]


def _by_site(rows: Sequence[Sequence[LinkRow]], seed: int) -> Folds:
    rng = random.Random(seed)
    fold_of: dict[str, int] = {}
    return [np.array([fold_of.setdefault(row.site, rng.randrange(FOLDS)) for row in source]) for source in rows]


def _by_row(rows: Sequence[Sequence[LinkRow]], seed: int) -> Folds:
    rng = random.Random(seed)
    return [np.array([rng.randrange(FOLDS) for _ in source]) for source in rows]


def _judged(
    rows: Sequence[Sequence[LinkRow]],
    folds: Folds,
    alphabet: Alphabet,
    bound: float,
    seed: int,
    progress: Callable[[float], None],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels and log odds of all links, each by a model that was fitted without its fold."""
    labels: list[int] = []
    values: list[NDArray[np.float64]] = []
    for fold in range(FOLDS):
        train, test = _split(rows, [chosen != fold for chosen in folds])
        if {source[0].label for source in train} == {0, 1} and test:
            model = _fitted(train, alphabet, bound, seed)
            labels += [row.label for row in test]
            values.append(link_log_odds(model, alphabet, [row.text for row in test]))
        progress((fold + 1) / FOLDS)
    return np.array(labels, np.int64), np.concatenate(values)


def _later(rows: Sequence[Sequence[LinkRow]], seed: int) -> tuple[list[list[LinkRow]], list[LinkRow]]:
    """The links that came before, and the abusive ones that were seen last, on sites not seen before, with honest ones."""
    keep: list[NDArray[np.bool_]] = []
    rng = random.Random(seed)
    for source in rows:
        times = sorted(row.at_s for row in source if row.at_s is not None)
        if source[0].label == ABUSIVE and len(times) == len(source) and times[0] < times[-1]:
            until = times[int(EARLIER * len(times))]
            keep.append(np.array([(row.at_s or 0.0) < until for row in source]))
        else:
            sites = {row.site: rng.random() < EARLIER for row in source}
            keep.append(np.array([source[0].label == ABUSIVE or sites[row.site] for row in source]))
    train, test = _split(rows, keep)
    known = {row.site for source in train for row in source}
    return train, [row for row in test if row.site not in known]


def _judged_later(
    known: Sequence[Sequence[LinkRow]], new: Sequence[LinkRow], alphabet: Alphabet, bound: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]] | None:
    """Labels and log odds of the links that came later, by a model that was fitted to some of those before."""
    labels = np.array([row.label for row in new], np.int64)
    if not 0 < labels.sum() < len(labels) or {source[0].label for source in known} != {0, 1}:
        return None
    model = _fitted([source[:MOST_JUDGED] for source in known], alphabet, bound, seed)
    return labels, link_log_odds(model, alphabet, [row.text for row in new])


def _flat(rows: Sequence[Sequence[LinkRow]]) -> list[LinkRow]:
    return [row for source in rows for row in source]


def _split(
    rows: Sequence[Sequence[LinkRow]], keep: Sequence[NDArray[np.bool_]]
) -> tuple[list[list[LinkRow]], list[LinkRow]]:
    train = [[row for row, kept in zip(source, of, strict=True) if kept] for source, of in zip(rows, keep, strict=True)]
    test = [
        row for source, of in zip(rows, keep, strict=True) for row, kept in zip(source, of, strict=True) if not kept
    ]
    return [source for source in train if source], test
