"""Reads and writes the two cards of events, `events.toml` without labels and `events-labels.toml` with them, in readable
terms, and `events.npz`, what the counters held.

`events.json` has the hashes, the provenance and the figures. The counters hold hashes in place of names.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np

from gate.errors import PolicyInvalid
from streams.core.counters import Kept
from streams.core.models.event_card import EventCard, EventTerm
from streams.files.models import Provenance
from streams.files.weights import not_read, read_about, read_arrays, require_finite
from streams.files.whole_files import packed, write_whole

NAME: Final = "events"
LABELLED: Final = "events-labels"
VERSION: Final = 4
MOST_BYTES: Final = 1 << 28
"""Most bytes of the counters, unpacked."""
WITHOUT_LABELS: Final = "none"
"""Stands for: no label reaches the counters."""


@dataclass(frozen=True, slots=True)
class EventModel:
    """Two cards, and what the counters held after the events they were fitted on.

    `plain` reads no odds of labels. `labelled` was fitted with labels that reached the counters as `labels` says. `until` is
    the last event's time in seconds where they were counted by the clock (`by_time`), else the number of events.
    """

    plain: EventCard
    labelled: EventCard
    kept: Kept
    until: float
    by_time: bool
    labels: str

    def card(self, labels: str) -> EventCard:
        """The card for a stream whose labels reach the counters so."""
        return self.plain if labels == WITHOUT_LABELS else self.labelled


def event_card(terms: Sequence[EventTerm], intercept: float, share: float) -> EventCard:
    """The card with these terms, named by their hash."""
    return EventCard(tuple(terms), intercept, share, sha256(_text(terms, intercept, share).encode()).hexdigest()[:12])


def write_event_model(model: EventModel, provenance: Provenance, directory: Path) -> None:
    """Write the model into `directory`, which is created. The same model gives the same bytes."""
    files = {
        f"{name}.toml": _text(card.terms, card.intercept, card.share).encode()
        for name, card in ((NAME, model.plain), (LABELLED, model.labelled))
    }
    arrays: dict[str, Any] = {"labels": np.array(model.kept.labels)}
    for number, table in enumerate(model.kept.tables):
        keys = sorted(table)
        arrays[f"keys_{number}"] = np.array(keys, np.uint64)
        arrays[f"entries_{number}"] = np.array([table[key] for key in keys], np.float64)
    files[f"{NAME}.npz"] = packed(**arrays)
    about = {
        "version": VERSION,
        "model": NAME,
        "hash": model.plain.hash,
        "hash_with_labels": model.labelled.hash,
        "files": dict(provenance.files),
        "seed": provenance.seed,
        "until": model.until,
        "by_time": model.by_time,
        "labels": model.labels,
        "figures": {key: round(value, 4) for key, value in provenance.figures.items()},
    }
    files[f"{NAME}.json"] = f"{json.dumps(about, indent=1)}\n".encode()
    write_whole(directory, files)


def read_event_model(directory: Path) -> EventModel:
    """The model in `directory`. Raises PolicyInvalid if a file is missing, damaged or of another version."""
    about, counted = directory / f"{NAME}.json", directory / f"{NAME}.npz"
    written = directory / f"{NAME}.toml"
    try:
        said = read_about(about)
        if said.get("version") != VERSION:
            raise PolicyInvalid(str(about), None, "version", f"must be {VERSION}; fit the model again")
        plain = _card(tomllib.loads(written.read_text(encoding="utf-8")))
        written = directory / f"{LABELLED}.toml"
        labelled = _card(tomllib.loads(written.read_text(encoding="utf-8")))
        found = read_arrays(counted, MOST_BYTES)
        tables = tuple(
            dict(zip(found[f"keys_{n}"].tolist(), found[f"entries_{n}"].tolist(), strict=True))
            for n in range((len(found) - 1) // 2)
        )
        labels, abusive = map(float, found["labels"])
        kept = Kept(tables, (labels, abusive))
        model = EventModel(plain, labelled, kept, float(said["until"]), said["by_time"] is True, str(said["labels"]))
    except OSError as error:
        raise not_read(error, written) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PolicyInvalid(str(written), None, "", f"is not a card of events: {error}") from None
    return model


def _text(terms: Sequence[EventTerm], intercept: float, share: float) -> str:
    lines = ["# Points in log odds for each bin of a counter, or of two. A value below the first cut is in the first bin.",
             f"intercept = {intercept}", f"training_share = {share}"]  # fmt: skip
    for term in terms:
        lines.append("\n[[terms]]")
        cuts = [[round(float(cut), 6) for cut in of] for of in term.cuts]
        if len(term.features) == 1:
            lines += [f'feature = "{term.features[0]}"', f"cuts = {cuts[0]}", f"points = {term.points.tolist()}"]
        else:
            lines += [f"features = {json.dumps(term.features)}", f"cuts = {cuts}", f"points = {term.points.tolist()}"]
    return "\n".join(lines) + "\n"


def _card(data: dict[str, Any]) -> EventCard:
    terms = []
    for term in data.get("terms", []):
        single = "feature" in term
        names = (term["feature"],) if single else tuple(term["features"])
        cuts = [term["cuts"]] if single else term["cuts"]
        terms.append(
            EventTerm(names, tuple(np.array(of, np.float64) for of in cuts), np.array(term["points"], np.float64))
        )
    intercept, share = float(data["intercept"]), float(data["training_share"])
    require_finite(intercept, share, *(float(one) for term in terms for one in (*term.points.flat, *chain(*term.cuts))))
    return event_card(terms, intercept, share)
