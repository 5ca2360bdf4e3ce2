"""Files of models that are damaged, cut off or made to do harm are refused by name, and never raise anything else."""

from __future__ import annotations

import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gate.errors import PolicyInvalid
from streams.core.counters import Kept
from streams.core.models.event_card import EventTerm
from streams.core.models.ngrams import NAME_BITS, TABLE_BITS
from streams.files import event_cards, weights
from streams.files.event_cards import EventModel, event_card, read_event_model, write_event_model
from streams.files.link_models import link_model, read_link_model, write_link_model
from streams.files.models import Provenance, caption_model, read_model, read_sketch, write_model

ABOUT = Provenance({"rows.jsonl": 9}, 1, {"auc": 0.9})
TABLE = np.random.default_rng(7).integers(-99, 99, 1 << TABLE_BITS).astype(np.int16)
NAMES = np.resize(TABLE[::-1], 1 << NAME_BITS)


def captions(directory: Path, scale: float = 0.5) -> None:
    write_model(caption_model(TABLE, scale, -1.0, -2.0), ABOUT, directory)


def links(directory: Path, scale: float = 0.5) -> None:
    write_link_model(link_model(NAMES, TABLE, scale, -1.0, 2.0, -2.0), ABOUT, directory)


def events(directory: Path, scale: float = 0.5) -> None:
    card = event_card([EventTerm(("gap",), (np.array([1.0]),), np.array([0.0, 0.5]))], scale, 0.2)
    write_event_model(EventModel(card, card, Kept(({5: 1.0},), (2.0, 1.0)), 9.0, False, "none"), ABOUT, directory)


Writes = Callable[..., None]
Reads = Callable[[Path], object]
KINDS = pytest.mark.parametrize(
    ("name", "write", "read"),
    [("captions", captions, read_model), ("links", links, read_link_model), ("events", events, read_event_model)],
    ids=["captions", "links", "events"],
)


@KINDS
def test_what_was_written_reads_back(name: str, write: Writes, read: Reads, tmp_path: Path) -> None:
    write(tmp_path)

    assert read(tmp_path)


@KINDS
def test_damaged_weights_are_refused_or_read_whole(name: str, write: Writes, read: Reads, tmp_path: Path) -> None:
    write(tmp_path)
    file, chance = tmp_path / f"{name}.npz", random.Random(1)
    whole = file.read_bytes()
    refused = 0

    for number in range(150):
        if number % 5:
            damaged = bytearray(whole)
            for _ in range(3):
                near = chance.choice((len(whole), min(200, len(whole))))
                damaged[chance.choice((1, -1)) * chance.randrange(near)] ^= chance.randrange(1, 256)
        else:
            damaged = bytearray(whole[: chance.randrange(len(whole))])
        file.write_bytes(damaged)
        try:
            read(tmp_path)
        except PolicyInvalid:
            refused += 1

    assert refused > 75


@KINDS
def test_arrays_that_would_fill_the_memory_are_refused(
    name: str, write: Writes, read: Reads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_cards, "MOST_BYTES", weights.MOST_BYTES)
    write(tmp_path)
    arrays = dict(np.load(tmp_path / f"{name}.npz"))
    np.savez_compressed(tmp_path / f"{name}.npz", **arrays, more=np.zeros(1 << 22, np.int64))
    assert (tmp_path / f"{name}.npz").stat().st_size < weights.MOST_BYTES

    with pytest.raises(PolicyInvalid, match="unpacks to 3"):
        read(tmp_path)


def test_a_header_that_states_more_than_there_is_is_refused(tmp_path: Path) -> None:
    captions(tmp_path)
    header = b"{'descr': '<i2', 'fortran_order': False, 'shape': (1000000000000,), }\n"
    with zipfile.ZipFile(tmp_path / "captions.npz", "w") as file:
        file.writestr("table.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)

    with pytest.raises(PolicyInvalid):
        read_model(tmp_path)


@KINDS
@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(
    name: str, write: Writes, read: Reads, scale: float, tmp_path: Path
) -> None:
    write(tmp_path, scale)

    with pytest.raises(PolicyInvalid, match="finite"):
        read(tmp_path)


@KINDS
@pytest.mark.parametrize("said", ["[" * 100_000, "[1]", "7", "", json.dumps({"version": 1, "sketch": 5})])
def test_what_is_said_of_them_is_refused_if_it_is_nothing_like_it(
    name: str, write: Writes, read: Reads, said: str, tmp_path: Path
) -> None:
    write(tmp_path)
    (tmp_path / f"{name}.json").write_text(said)

    with pytest.raises(PolicyInvalid):
        read(tmp_path)
    assert read_sketch(tmp_path) == ()
