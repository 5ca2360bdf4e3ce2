"""Models with weights that are written down: the log odds of captions, links and events are sums that are computed by hand."""

from __future__ import annotations

from math import log, sqrt

import numpy as np
import pytest

from streams.core.models.alphabet import build_alphabet
from streams.core.models.captions import CaptionModel, caption_log_odds, caption_views
from streams.core.models.event_card import EventCard, EventTerm
from streams.core.models.link_model import LinkModel, LinkText, link_log_odds, link_text, read_link
from streams.core.models.link_odds import LinkReader, UploadLinks
from streams.core.models.ngrams import NAME_BITS, TABLE_BITS, name_views, read_batch, view_sums, views
from streams.core.weblinks import Link
from streams.files.public_suffixes import load_web_links

ALPHABET, WEB = build_alphabet(), load_web_links()
ONES = np.ones(1 << TABLE_BITS, np.int16)
NAME_ONES = np.ones(1 << NAME_BITS, np.int16)


def grams(text: str) -> int:
    """How many n-grams and words of a caption count."""
    _, counts = view_sums(ONES, caption_views(read_batch([text], ALPHABET), ALPHABET))
    return int(counts[0])


def test_the_log_odds_of_a_caption_are_its_weights_over_the_root_of_their_number() -> None:
    model = CaptionModel(ONES, 0.1, -2.0, -1.0, "ones")
    texts = ["my cat", "a quiet evening by the lake", ""]

    odds = caption_log_odds(model, ALPHABET, texts)
    moved = caption_log_odds(model, ALPHABET, texts, base_rate=0.2)

    assert odds.tolist() == pytest.approx([sqrt(grams(text)) * 0.1 - 2.0 for text in texts])
    assert (moved - odds).tolist() == pytest.approx([1.0 + log(0.25)] * 3)


@pytest.mark.parametrize("count", [299, 300, 301, 700])
def test_captions_and_links_beyond_a_part_are_read_like_the_first(count: int) -> None:
    model = CaptionModel(ONES, 0.1, -2.0, -1.0, "ones")
    links = LinkModel(NAME_ONES, ONES, 0.1, 0.5, 9.0, 0.0, "ones")
    texts = [f"number {number} of many" for number in range(count)]

    odds = caption_log_odds(model, ALPHABET, texts)
    of_links = link_log_odds(links, ALPHABET, [LinkText(f"h{number}.test", f"/p{number}") for number in range(count)])

    assert len(odds) == len(of_links) == count
    assert odds[-1] == caption_log_odds(model, ALPHABET, texts[-1:])[0]
    assert of_links[-1] == link_log_odds(links, ALPHABET, [LinkText(f"h{count - 1}.test", f"/p{count - 1}")])[0]


def of_link(name: str, path: str, names: int = 1, paths: int = 1, bound: float = 99.0) -> float:
    model = LinkModel(NAME_ONES * np.int16(names), ONES * np.int16(paths), 0.1, 0.5, bound, 0.0, "test")
    return float(link_log_odds(model, ALPHABET, [LinkText(name, path)])[0])


def test_the_log_odds_of_a_link_are_those_of_its_name_and_of_its_path_within_a_bound() -> None:
    name_grams = sum(len(view.cells) * int(view.first.sum()) for view in name_views(["flower.org"], ALPHABET))
    path_grams = sum(len(view.cells) * int(view.first.sum()) for view in views(["/win"], ALPHABET))
    name, path = 0.1 * sqrt(name_grams), 0.1 * sqrt(path_grams)

    assert of_link("flower.org", "") == pytest.approx(0.5 + name)
    assert of_link("flower.org", "/win") == pytest.approx(0.5 + name + path)
    assert of_link("flower.org", "/win", paths=90, bound=0.75) == pytest.approx(0.5 + name + 0.75)
    assert of_link("flower.org", "/win", paths=-90, bound=0.75) == pytest.approx(0.5 + name - 0.75)
    assert of_link("flower.org", "/win", names=-2) == pytest.approx(0.5 - 2 * name + path)


def test_links_with_a_path_and_without_one_are_read_together() -> None:
    links = [LinkText("a.test", ""), LinkText("b.test", "/win"), LinkText("c.test", ""), LinkText("d.test", "/x")]
    model = LinkModel(NAME_ONES, ONES, 0.1, 0.5, 9.0, 0.0, "ones")

    assert link_log_odds(model, ALPHABET, links).tolist() == [of_link(*link) for link in links]


@pytest.mark.parametrize(
    ("names", "paths"),
    [(NAME_ONES[:-1], ONES), (NAME_ONES, ONES[:-1]), (NAME_ONES.astype(np.int32), ONES), (ONES, NAME_ONES)],
)
def test_tables_of_another_size_are_no_link_model(names: np.ndarray, paths: np.ndarray) -> None:
    with pytest.raises(ValueError, match="1048576 and 262144 weights of 16 bits"):
        LinkModel(names, paths, 0.1, 0.5, 9.0, 0.0, "test")


def test_of_a_link_the_users_part_of_the_host_and_sixty_characters_of_the_path_are_read() -> None:
    assert read_link("https://www.Birds.github.io/Spring/?x#y", WEB) == LinkText("birds", "/Spring")
    assert read_link(f"https://a.example/{'p' * 80}", WEB) == LinkText("a.example", "/" + "p" * 59)
    assert read_link("mailto:a@b.example", WEB) is None
    assert link_text(Link("x.birds.github.io", ""), WEB) == LinkText("x.birds", "")


def test_log_odds_of_links_are_whole_64ths_and_at_most_four() -> None:
    def read(scale: float) -> list[int | None]:
        reader = LinkReader(ALPHABET, LinkModel(NAME_ONES, ONES, scale, 0.0, 9.0, 0.0, "test"), WEB)
        return reader.read([UploadLinks(["https://a.example/"], None), UploadLinks([], "no"), UploadLinks([], None)])

    assert read(10.0) == [256, None, None]
    assert read(-10.0) == [-256, None, None]
    assert read(0.01) == [round(64 * (of_link("a.example", "") - 0.5) / 10), None, None]


def test_an_event_card_adds_the_points_of_the_bins() -> None:
    one = EventTerm(("gap",), (np.array([1.0, 2.0]),), np.array([0.5, 0.25, -1.0]))
    two = EventTerm(
        ("gap", "share"), (np.array([2.0]), np.array([0.1, 0.9])), np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    )
    card = EventCard((one, two), -3.0, 0.1, "test")
    matrix = np.array([[0.0, 0.9], [0.5, 1.0], [0.05, 2.0], [0.1, 9.0]])

    added = card.contributions(matrix, ["share", "gap"])

    assert added.tolist() == [[0.5, 1.0], [0.25, 2.0], [-1.0, 4.0], [-1.0, 5.0]]
    assert card.log_odds(matrix, ["share", "gap"]).tolist() == [-1.5, -0.75, 0.0, 1.0]


@pytest.mark.parametrize(
    ("points", "features"),
    [([0.5, 0.25], ("gap",)), ([0.5, 0.2, 0.1, 0.0], ("gap",)), ([0.5, 0.2, 0.1], ("gap", "x"))],
)
def test_a_term_of_events_has_one_point_more_than_cuts(points: list[float], features: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="one point more than cuts"):
        EventTerm(features, (np.array([1.0, 2.0]),), np.array(points))
