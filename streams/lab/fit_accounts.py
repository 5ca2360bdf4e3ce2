"""Fits a scorecard to labelled accounts, through the very fold that the worker runs.

Training rows are accounts after their first few events and after more of them, so that the scorecard knows young
accounts. Families of near-identical accounts are never in training and test at once. Figures come from accounts that no
fold's model saw.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gate.errors import OperatorError
from streams.core.features import FAMILIES, FEATURES, PLACE
from streams.core.models.alphabet import Alphabet
from streams.core.models.captions import CaptionModel
from streams.core.models.link_odds import ReadsLinks
from streams.core.models.marks import CaptionReader, ReadsCaptions
from streams.core.models.name_model import NameModel
from streams.core.scorecard import Scorecard
from streams.files.scorecards import load_scorecard
from streams.lab.boosting import BAGS, Matrix, Vectors, boost
from streams.lab.calibration import Capped, choose_cap, most_alone, scorecard_of
from streams.lab.caption_odds_line import carried_on, steepness, with_line
from streams.lab.cross_fitted import KNOWN, cross_fitted, share_known
from streams.lab.detection_figures import DetectionFigures, detection_figures
from streams.lab.families import family_numbers, shown
from streams.lab.fit_texts import LEAST_LABELS, Labelled, Progress, TooFewLabels, require_labels
from streams.lab.held_out import HeldOut, held_out, sums_by_family, with_enough_rounds
from streams.lab.one_thread import one_thread
from streams.lab.rows import ABUSIVE, BENIGN, Recorded, Stream, read
from streams.lab.snapshots import FeatureSnapshot, FoldedStream, account_labels, fold_stream

AFTER: Final = (3, 5, 8, 12, 20, 35, 60, 100, 200, 400)
"""The events after which an account is a row to fit to."""
FEWEST_FAMILIES: Final = 4
"""Families of a class from which rows are split by family."""
BASE_RATE: Final = 0.02
COUNTS: Final = frozenset(
    ("uploads", "texts", "completed", "refused", "late", "quiet_days", "content_repeats", "template_repeats", "mentions",
     "linked", "host_repeats", "gaps", "sessions", "longest_gap_days", "clean_completed")
)  # fmt: skip
"""Features that grow with an account's age and say little by themselves; their shares are fitted to instead."""
SAID_TWICE: Final = frozenset(
    ("content_share", "template_share", "uniformity", "caption_low_share", "caption_high_share", "link_share",
     "host_share", "freshness", "content_spread", "link_spread", "link_odds_high_share")
)  # fmt: skip
"""Features that another one says as well; with both, the fit depends more on chance."""
OF_ONE_FAMILY: Final = frozenset(("layout_concentration", "near_mean", "near_share", "skeleton_share"))
"""Features that tell bots of one family apart and mislead about those of others: without them more is caught there."""
READ_BY_CAPTIONS: Final = frozenset(
    ("caption_length", "upper_share", "digit_share", "punctuation_share", "space_share", "caption_odds_deviation")
)  # fmt: skip
"""Features of style that a caption model of the same site reads in each caption too. Beside such a model they count
twice, and bots of other kinds rank worse. The spread of its log odds is one of them: the models that read training
captions spread them otherwise than the whole model does, which distorts risks.
"""
OF_LARGE_FAMILY: Final = 0.5
"""The exponent by which an account of a family of n accounts weighs less: n to this power."""
SURER: Final = 1.25
"""How much steeper risks rise than training rows say whose captions were cross-fitted. Their readers lack a quarter of the
families, so the whole model tells new accounts apart better than these rows show.
"""
CROWD: Final = frozenset(("crowd", "campaign"))
"""Families that count other accounts of the same stream: in training those are of the same bots, which makes too much of it."""
JUDGED_BY_MODEL: Final = frozenset(("name_odds",))
"""Features of these families that a model has weighed already, against what chance explains at this number of new sites."""
TIMED: Final = frozenset(("tempo", "age", *JUDGED_BY_MODEL))
"""Families and features that mean nothing in a stream without times."""


@dataclass(frozen=True, slots=True)
class Captions:
    """The caption model to read with, and hashes of some texts it was fitted on."""

    model: CaptionModel | None
    sketch: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class LabelledStreams:
    """The uploads of some files in order of time, and their number in each file."""

    uploads: Sequence[Recorded]
    synthetic_times: bool
    rows: dict[str, int]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AccountFit:
    """A fitted scorecard, and how it judges accounts that it did not see.

    `grouped` splits no family; `random` splits accounts anyhow; `later` judges accounts that began after the others, and
    is None in a stream without times. `cross_fitted` tells whether captions were read by models of other families.
    """

    scorecard: Scorecard
    accounts: int
    positives: int
    families: int
    grouped: DetectionFigures
    random: DetectionFigures
    later: DetectionFigures | None
    cross_fitted: bool
    notes: tuple[str, ...] = ()


def read_streams(files: Sequence[Path]) -> LabelledStreams:
    """The labelled uploads of all files. Raises RowInvalid for a row that cannot be used."""
    streams: list[tuple[Path, Stream]] = [(file, read(file, skip_unknown=True)) for file in files]
    uploads = [upload for _, stream in streams for upload in stream.uploads]
    uploads.sort(key=lambda upload: upload.at_us)
    return LabelledStreams(
        uploads,
        any(stream.synthetic_times for _, stream in streams),
        {file.name: len(stream.uploads) for file, stream in streams},
        tuple(f"{file.name}: {note}" for file, stream in streams for note in stream.notes),
    )


@one_thread()
def fit_accounts(
    streams: LabelledStreams,
    captions: Captions,
    alphabet: Alphabet,
    seed: int,
    base_rate: float = BASE_RATE,
    without: Collection[str] = (),
    progress: Progress = lambda share, what: None,
    links: ReadsLinks | None = None,
    names: NameModel | None = None,
) -> AccountFit:
    """Fit a scorecard to the features that `captions`, `links` and `names` give, as in a worker.

    Raises TooFewLabels if a class has fewer than 25 labelled accounts, or nothing tells them apart.
    """
    labels = account_labels(streams.uploads)
    accounts = [account for account, label in labels.items() if label in (BENIGN, ABUSIVE)]
    require_labels(
        np.array([labels[account] for account in accounts], np.int64), "accounts",
        "give more accounts whose rows have the label 0 or 1",
    )  # fmt: skip
    progress(0.02, "families")
    families = family_numbers(accounts, map(shown, streams.uploads), alphabet)
    enough = (
        min(len(np.unique(families[[labels[a] == label for a in accounts]])) for label in (BENIGN, ABUSIVE))
        >= FEWEST_FAMILIES
    )
    family_of = dict(zip(accounts, families.tolist() if enough else range(len(accounts)), strict=True))
    notes = (
        ()
        if enough
        else (
            "there are too few groups of accounts to split by, so single accounts are split, which is too optimistic",
        )
    )
    progress(0.06, "captions")
    reader, crossed = _reader(streams, captions, alphabet, family_of, seed, progress)
    progress(0.25, "folding")
    folded = fold_stream(streams.uploads, load_scorecard(None), reader, AFTER, links, names)
    vectors = _vectors(folded, family_of, _names(folded, without, streams.synthetic_times, crossed))
    progress(0.35, "fitting")
    made = _fit(streams, vectors, _first_times(streams.uploads, folded, family_of), seed, base_rate, crossed, progress)
    return replace(made, notes=notes)


def _fit(
    streams: LabelledStreams,
    vectors: Vectors,
    first_us: NDArray[np.int64],
    seed: int,
    base_rate: float,
    crossed: bool,
    progress: Progress,
) -> AccountFit:
    most = most_alone(base_rate)
    last = _last_rows(vectors)
    unseen = with_enough_rounds(vectors, seed, lambda done: progress(0.35 + 0.35 * done, "by families"))
    families, rounds = unseen.families, unseen.rounds
    steep = steepness(unseen.sums, vectors, own_captions=crossed)
    sums = with_line(unseen.sums, families, vectors, steep)
    weights = calibration_weights(vectors)
    capped = choose_cap(sums, vectors.labels, weights, _stages(vectors), most)
    alone = _account_numbers(vectors)
    again = held_out(vectors, alone, seed, rounds, lambda done: progress(0.7 + 0.15 * done, "by accounts"), families)
    loose = with_line(again.sums, families, vectors, steep)
    later = None if streams.synthetic_times else _later(vectors, first_us, seed, unseen, capped, steep)
    progress(0.9, "all rows")
    boosted = carried_on(boost(vectors, seed, BAGS, rounds), vectors, steep)
    share = float((weights * vectors.labels).sum() / weights.sum())
    card = scorecard_of(boosted, as_met(capped, crossed), share, base_rate, most)
    if not card.terms:
        raise TooFewLabels("no feature tells abusive accounts from honest ones", "give accounts that differ in more")
    progress(1.0, "done")
    return AccountFit(
        card,
        int(last.sum()),
        int(vectors.labels[last].sum()),
        len(np.unique(vectors.groups)),
        detection_figures(vectors.labels[last], capped.log_odds(sums[last])),
        detection_figures(vectors.labels[last], capped.log_odds(loose[last])),
        later,
        crossed,
    )


def _reader(
    streams: LabelledStreams,
    captions: Captions,
    alphabet: Alphabet,
    family_of: dict[str, int],
    seed: int,
    progress: Progress,
) -> tuple[ReadsCaptions, bool]:
    """The readers of captions: the model, or models of other families where the model learned from these captions."""
    if captions.model is None:
        return CaptionReader(alphabet), False
    rows = [
        (upload.request.text, upload.label, family_of[upload.request.account.id])
        for upload in streams.uploads
        if upload.request.text and upload.label in (BENIGN, ABUSIVE) and upload.request.account.id in family_of
    ]
    texts = [text for text, _, _ in rows]
    known = share_known(captions.sketch, texts)
    labels = np.array([label for _, label, _ in rows], np.int64)
    groups = np.array([group for _, _, group in rows], np.int64)
    classes = [len(np.unique(groups[labels == label])) for label in (BENIGN, ABUSIVE)]
    if known <= KNOWN or min(classes) < FEWEST_FAMILIES:
        return CaptionReader(alphabet, captions.model), False
    labelled = Labelled(texts, labels, groups, groups)
    return (
        cross_fitted(labelled, alphabet, captions.model, seed, lambda done: progress(0.06 + 0.19 * done, "captions")),
        True,
    )


def _names(folded: FoldedStream, without: Collection[str], synthetic: bool, own_captions: bool) -> tuple[str, ...]:
    """The features to fit to: those that vary, and are neither left out nor meaningless.

    `own_captions` tells whether the caption model was fitted to captions of these accounts.
    """
    known = {*FAMILIES, *PLACE}
    for name in without:
        if name not in known:
            raise OperatorError(
                f"--without {name} is neither a feature nor a family", f"known are {', '.join(sorted(known))}"
            )
    matrix = _matrix(folded.snapshots)
    unfit = COUNTS | SAID_TWICE | OF_ONE_FAMILY | (READ_BY_CAPTIONS if own_captions else frozenset())
    names = []
    for feature in FEATURES:
        column = matrix[:, PLACE[feature.name]]
        varies = len(np.unique(column)) > 1
        known_by = {feature.name, feature.family}
        left_out = known_by & set(without) or (synthetic and known_by & TIMED)
        fit_to = feature.name not in unfit and (feature.family not in CROWD or feature.name in JUDGED_BY_MODEL)
        if varies and not left_out and fit_to:
            names.append(feature.name)
    if not names:
        raise TooFewLabels(
            "no feature varies between these accounts", "give events with captions, devices, times or links"
        )
    return tuple(names)


def _matrix(rows: Sequence[FeatureSnapshot]) -> Matrix:
    """The vectors to two decimals. Decaying counters differ in the third by the time of day, which means nothing."""
    return np.round(np.array([one.vector for one in rows]), 2)


def _vectors(folded: FoldedStream, family_of: dict[str, int], names: tuple[str, ...]) -> Vectors:
    """The rows to fit to. Each account of a large family weighs less; a row after few events,
    where accounts are hardest to tell apart, weighs more than a later one."""
    rows = [one for one in folded.snapshots if one.account in family_of]
    groups = np.array([family_of[one.account] for one in rows], np.int64)
    sizes = np.bincount(list(family_of.values()))
    of_account: dict[str, int] = {}
    for one in rows:
        of_account[one.account] = of_account.get(one.account, 0) + 1
    weights = (
        np.array([1.0 / of_account[one.account] / sqrt(one.events) for one in rows]) / sizes[groups] ** OF_LARGE_FAMILY
    )
    return Vectors(
        names,
        _matrix(rows)[:, [PLACE[name] for name in names]],
        np.array([folded.labels[one.account] for one in rows], np.int64),
        weights / weights.mean(),
        groups,
        np.array([one.events for one in rows], np.int64),
        np.array([one.account for one in rows]),
    )


def _later(
    vectors: Vectors,
    first_us: NDArray[np.int64],
    seed: int,
    unseen: HeldOut,
    capped: Capped,
    steep: float,
) -> DetectionFigures | None:
    """The figures for the 30 % of accounts that began last, by terms fitted to the others; None if a class is missing."""
    bound = np.quantile(first_us, 0.7)
    train, test = first_us <= bound, (first_us > bound) & _last_rows(vectors)
    labels = vectors.labels
    if min(labels[train].sum(), (1 - labels[train]).sum()) < LEAST_LABELS or not 0 < labels[test].sum() < test.sum():
        return None
    boosted = carried_on(boost(vectors.rows(train), seed, rounds=unseen.rounds), vectors, steep)
    sums = sums_by_family(boosted, vectors.rows(test), unseen.families)
    return detection_figures(labels[test], capped.log_odds(sums))


def _stages(vectors: Vectors) -> list[NDArray[np.bool_]]:
    """Rows after few, more and many events, as far as there are such of both classes."""
    bounds = ((1, 6), (7, 30), (31, 1 << 40))
    stages = [(vectors.events >= low) & (vectors.events <= high) for low, high in bounds]
    return [rows for rows in stages if 0 < vectors.labels[rows].sum() < rows.sum()] or [vectors.events > 0]


def _last_rows(vectors: Vectors) -> NDArray[np.bool_]:
    """True for each account's row with the most events."""
    last: dict[str, int] = {}
    for row, account in enumerate(vectors.accounts.tolist()):
        if account not in last or vectors.events[row] >= vectors.events[last[account]]:
            last[account] = row
    chosen = np.zeros(len(vectors.labels), np.bool_)
    chosen[list(last.values())] = True
    return chosen


def calibration_weights(vectors: Vectors) -> NDArray[np.float64]:
    """Weights by which risks are calibrated: each account's last row counts, as its risk is what a check meets, and each
    family the same. Risks must hold for families to come, so the few largest do not decide them."""
    last = _last_rows(vectors)
    accounts = np.bincount(vectors.groups, last)[vectors.groups]
    weights: NDArray[np.float64] = last / accounts
    return weights


def as_met(capped: Capped, crossed: bool) -> Capped:
    """The calibration for accounts to come, whose captions the whole model reads. `crossed` tells whether models of other
    families read those of the training rows."""
    return replace(capped, slope=capped.slope * SURER) if crossed else capped


def _account_numbers(vectors: Vectors) -> NDArray[np.int64]:
    numbers: NDArray[np.int64] = np.unique(vectors.accounts, return_inverse=True)[1].astype(np.int64)
    return numbers


def _first_times(uploads: Sequence[Recorded], folded: FoldedStream, family_of: dict[str, int]) -> NDArray[np.int64]:
    """The time of the first event of each row's account, µs."""
    first: dict[str, int] = {}
    for upload in uploads:
        first.setdefault(upload.request.account.id, upload.at_us)
    return np.array([first[one.account] for one in folded.snapshots if one.account in family_of], np.int64)
