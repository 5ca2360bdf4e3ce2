"""Honest links for every fit of the link model, so that a fit needs no list of its own.

Two installed packages hold names of honest sites: the HSTS preload list, to which owners of sites register their domain,
and the public suffix list, whose comments name the registries and companies behind the suffixes. Half of the
names, chosen by their checksum, are for fitting; the other half is for judging. `plain_names` makes names as people and
projects who share a hosting provider choose them, and `plain_paths` makes paths of common words.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Final
from zlib import crc32

from gate.errors import OperatorError

_PSL_LINK = re.compile(r"https?://[^\s<>()\"']+")
_PSL_MAIL = re.compile(r"@([a-z0-9.-]+\.[a-z]{2,})>")
_IDS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _listed(text: str) -> tuple[str, ...]:
    return tuple(text.split())


TOPICS: Final = _listed(
    "about album allotment archive art astronomy band beach bike birds blog boat book bread bridge cake "
    "calendar camera camping cat ceramics chess choir cinema city class climbing club coast coffee comics "
    "community cookbook course craft cycling dance desert design diary docs dog drawing family farm film "
    "fishing flowers football forest friends gallery garden guitar guide harbour hiking history holiday home "
    "house island jazz journal kitchen knitting lake language law lecture lesson letters library maps market "
    "maths meadow memory model mountain museum music nature neighbours news notes orchard outdoor painting "
    "paper parish park people photo physics piano picnic places planet plants poems poetry portfolio postcard "
    "pottery project puzzle quilt radio rain reading recipes research restaurant river road robot rowing "
    "running sailing school science scout sketch snow song soup spring stories street studio summer surf swim "
    "tea teacher tennis theatre theory thesis tour town train travel trees tutorial valley village vinyl "
    "violin volunteers walk water weather wedding weekend winter wood workshop writing yoga zoo"
)
PROJECTS: Final = _listed(
    "api app bot browser builder charts chat cheatsheet cli clock compiler converter dashboard data demo "
    "devlog editor engine example explorer feed finder flashcards game generator graph homework importer lab "
    "linter list logger manual markdown parser planner player playground plot portal quiz reader renderer "
    "sandbox scheduler server simulator site slides solver starter template terminal theme timer toolkit tools "
    "tracker tutorial viewer visualizer widget wiki"
)
QUALIFIERS: Final = _listed(
    "a big blue daily english first free friendly german good great green happy her his little local modern my "
    "new north old open our personal practical quiet red simple slow small south sunday sunny the tiny urban "
    "vegan west wild young"
)
PEOPLE: Final = _listed(
    "ada alex ali amir ana andrei anna ben carlos chen clara david diego elena emma eva fatima felix hana "
    "hassan ines ivan jack jan jane john jonas jose julia karim katja kim lars laura lea leo lina lucas luis "
    "maja marco maria marie mateo max mia mila min mohamed nadia nina noah nora olga omar paul pedro peter "
    "priya ravi rosa sam sara sofia thomas tim tom vera wei yuki yusuf zoe"
)
SUBDOMAINS: Final = _listed(
    "api app apps archive assets beta blog books careers cdn club cms community data de demo dev developer "
    "docs donate download edu en es events fiber forum fr git help hr images img info intranet it jobs kb "
    "learn library list lists live local m mail maps math media members mobile music my news ns1 old online "
    "photos physics portal press radio search shop sport static status store students support test tickets "
    "travel tv uk us video web webmail wiki work www2"
)
_LANGUAGES: Final = _listed("de en en-gb en-us es fr it nl pl pt-br")
_SECTIONS: Final = _listed(
    "about about-us article articles blog c category company contact docs download events faq forum help item list news "
    "page pages posts product products projects s search services shop story support tag team topic watch wiki"
)
_CONSONANTS = "bcdfghjklmnpqrstvwxz"
_VOWELS = ("a", "e", "i", "o", "u", "y", "", "", "", "")
PROJECT_SHARE: Final = 0.35
"""Share of the names of sites at a hosting provider that projects of developers have."""
_ENDINGS = ("html", "htm", "php", "pdf", "jpg", "png", "aspx", "md")


def honest_hosts(for_fitting: bool) -> list[str]:
    """The hosts named by the installed packages: one half for fitting, the other for judging. Raises OperatorError if
    a package is missing or cannot be read."""
    half = 1 if for_fitting else 0
    names = dict.fromkeys([*_preloaded(), *_suffix_owners()])
    return [name for name in names if crc32(name.encode()) % 2 == half]


def _preloaded() -> Iterator[str]:
    """The domains of the HSTS preload list. The file is a sequence of flags, length and name."""
    try:
        raw = (files("hstspreload") / "hstspreload.bin").read_bytes()
    except (ImportError, OSError):
        raise OperatorError(
            "the honest links are in hstspreload, which is not installed", "install the package with its `fit` extra"
        ) from None
    at = 0
    while at < len(raw):
        end = at + 2 + raw[at + 1]
        name = raw[at + 2 : end]
        if b"." in name:
            yield name.decode("ascii", "replace")
        at = end


def _suffix_owners() -> Iterator[str]:
    """The hosts in the comments of the public suffix list."""
    text = (files("publicsuffixlist") / "public_suffix_list.dat").read_text("utf-8")
    comments = "\n".join(line for line in text.splitlines() if line.startswith("//"))
    yield from (link.split("/")[2] for link in _PSL_LINK.findall(comments))
    yield from _PSL_MAIL.findall(comments)


def plain_names(count: int, seed: int) -> list[str]:
    """Names that people give to a site at a hosting provider, without the provider."""
    rng = random.Random(seed)
    return [_plain_name(rng) for _ in range(count)]


def _plain_name(rng: random.Random) -> str:
    return _name_of_project(rng) if rng.random() < PROJECT_SHARE else _name_of_people(rng)


def _name_of_project(rng: random.Random) -> str:
    """Short and technical, as projects and organisations of developers are named."""
    topic, project, short = rng.choice(TOPICS), rng.choice(PROJECTS), _short(rng)
    names: tuple[str, ...] = (
        f"py{topic}", f"{topic}py", f"python-{topic}", f"lib{topic}", f"{short}lib", f"{short}js", f"{topic}-js", f"{topic}-rs",
        f"go-{topic}", f"open{topic}", f"{topic}-dev", f"{topic}-org", f"{topic}-project", f"{topic}{rng.randrange(2, 10)}",
        f"{topic}-{rng.randrange(1, 400)}", f"{short}{rng.randrange(2, 66)}", f"{short}-{topic}", f"{topic}-{short}",
        f"{project}-{short}", f"{short}{topic[:3]}",
    )  # fmt: skip
    return rng.choice(names)


def _short(rng: random.Random) -> str:
    """A made word of up to six letters."""
    return "".join(rng.choice(_CONSONANTS) + rng.choice(_VOWELS) for _ in range(rng.randrange(1, 4)))


def _name_of_people(rng: random.Random) -> str:
    mark = rng.choice(("-", "-", "-", "", ""))
    topic, other, project = rng.choice(TOPICS), rng.choice(TOPICS), rng.choice(PROJECTS)
    person, how = rng.choice(PEOPLE), rng.choice(QUALIFIERS)
    parts: tuple[str, ...] = rng.choice((
        (topic, other), (how, topic), (person, topic), (topic, project), (project,), (topic,), (person, other),
        (f"{person}s", topic), (how, topic, project), (topic, "by", person), (person, project), (other, topic, project),
        (topic, "of", other), (topic, "and", other), (topic, str(rng.randrange(1990, 2027))), (person[0] + other,),
    ))  # fmt: skip
    return mark.join(parts)


def plain_paths(count: int, seed: int) -> list[str]:
    """Paths as honest sites have them: words, dates, numbers and random ids."""
    rng = random.Random(seed)
    return [_plain_path(rng) for _ in range(count)]


def _plain_path(rng: random.Random) -> str:
    return rng.choice(PATHS)(rng)


def _title(rng: random.Random) -> str:
    return "-".join(rng.choice(TOPICS + QUALIFIERS) for _ in range(rng.randrange(2, 6)))


def _some_id(rng: random.Random) -> str:
    return "".join(rng.choices(_IDS, k=rng.randrange(5, 13)))


def _number(rng: random.Random) -> int:
    return rng.randrange(10 ** rng.randrange(2, 9))


def _of_topics(rng: random.Random) -> str:
    """The path of a page of a shop, a club or a company."""
    one, two, title, ending = rng.choice(TOPICS), rng.choice(TOPICS + PROJECTS), _title(rng), rng.choice(_ENDINGS)
    paths: tuple[str, ...] = (
        f"/{one}", f"/{one}/{two}", f"/{title}", f"/{one}/{_number(rng)}", f"/{two}/{_some_id(rng)}", f"/{_some_id(rng)}",
        f"/{one}/{two}/{title}.{ending}", f"/{rng.choice(_LANGUAGES)}/{one}/{two}", f"/{rng.choice(_SECTIONS)}",
        f"/{rng.choice(_SECTIONS)}/{title}", f"/{rng.choice(_SECTIONS)}/{one}/{_number(rng)}", f"/{title}-{_number(rng)}",
    )  # fmt: skip
    return rng.choice(paths)


def _of_dates(rng: random.Random) -> str:
    """The path of an article, or of a picture in one."""
    title, one = _title(rng), rng.choice(TOPICS)
    dated = f"{rng.randrange(2004, 2027)}/{rng.randrange(1, 13):02d}"
    paths: tuple[str, ...] = (
        f"/{one}/{dated}/{title}", f"/{dated}/{title}", f"/{dated}/{title}.html", f"/{dated}/{rng.randrange(1, 29):02d}/{title}",
        f"/wp-content/uploads/{dated}/{title}.{rng.choice(('jpg', 'png', 'pdf'))}", f"/{_number(rng)}/{title}",
    )  # fmt: skip
    return rng.choice(paths)


def _of_old_site(rng: random.Random) -> str:
    """A path that names a file, as pages that people wrote by hand have it."""
    one, two, ending = rng.choice(TOPICS), rng.choice(TOPICS + PROJECTS), rng.choice(_ENDINGS)
    cased = rng.choice((str.lower, str.capitalize, str.upper))
    paths: tuple[str, ...] = (
        f"/{cased(one)}.{ending}", f"/{one}/{cased(two)}.{ending}", f"/{one}/index.{rng.choice(('html', 'htm', 'php'))}",
        f"/index.php/{one.capitalize()}_{two}", f"/{_number(rng)}.html", f"/cgi-bin/{one}", f"/cgi/{one}.{ending}",
        f"/~{rng.choice(PEOPLE)}/{two}/{one}{rng.randrange(20)}.{ending}", f"/~{rng.choice(PEOPLE)}", f"/{one}/Default.aspx",
        f"/{cased(one)}/{cased(two)}/{one}_{two}_{rng.randrange(99)}.{ending}", f"/index.{rng.choice(('html', 'php', 'htm'))}",
    )  # fmt: skip
    return rng.choice(paths)


def _of_documents(rng: random.Random) -> str:
    """A path of the documentation of a project, or of its code."""
    one, two, number = rng.choice(PROJECTS), rng.choice(TOPICS + PROJECTS), _number(rng)
    release = rng.choice(("latest", "stable", "main", f"{rng.randrange(9)}.{rng.randrange(20)}"))
    part = rng.choice(("issues", "commit", "pull"))
    paths: tuple[str, ...] = (
        f"/en/{release}", f"/en/{release}/{two}.html", f"/en/{release}/{one}/{two}.html", f"/docs/{one}/{two}",
        f"/{one}/{release}/{one}_{two}.html", f"/{one}-{two}", f"/{one}/{two}/{part}/{number}",
        f"/wiki/{two.capitalize()}_{one}", f"/docs/{one.capitalize()}{two.capitalize()}.html", f"/{two}/{one}/{one}.svg",
    )  # fmt: skip
    return rng.choice(paths)


def _of_references(rng: random.Random) -> str:
    """The path of a standard, a manual, a paper, an answer or a file of a project, as people cite them."""
    one, two, three = (rng.choice(TOPICS + PROJECTS) for _ in range(3))
    name = rng.choice(
        (one.capitalize() + two.capitalize(), f"{one}_{two}", one.upper()[:4] + two.capitalize(), f"{one}-{two}")
    )
    short, digest = one[:3] + rng.choice(("", two[:2])), f"{rng.getrandbits(160):040x}"
    release = f"{rng.randrange(1, 12)}.{rng.randrange(30)}"
    language, ending = rng.choice(_LANGUAGES), rng.choice(("html", "txt", "pdf", "md", "htm"))
    paths: tuple[str, ...] = (
        f"/{name}.{ending}", f"/{one}/{name}.{ending}", f"/{one}/{two}/{name}.{ending}", f"/{short}", f"/{short}/{two}",
        f"/{short}/{short}-{_number(rng)}", f"/{short}/{short}{_number(rng)}.{ending}", f"/{short}-{release}/{name}.{ending}",
        f"/{one}/{two}/{three}/{name}", f"/{language}/{one}/{two}/{name}", f"/{one}/v{release}/{name}.{ending}",
        f"/a/{_number(rng)}", f"/q/{_number(rng)}/{_number(rng)}", f"/{one}/{digest}", f"/{one}/{short}/{digest[:12]}",
        f"/{one}/releases/tag/v{release}", f"/{one}-{two}/{name}", f"/{two}/{one}-{two}.svg", f"/subject/{name}/{short}",
        f"/{one}/{digest[:32]}-{name}.pdf", f"/{rng.randrange(1900, 2100)}.{rng.randrange(99_999):05d}", f"/{one}/trunk/{two}",
    )  # fmt: skip
    return rng.choice(paths)


def _of_people(rng: random.Random) -> str:
    """The path of somebody's page, post or picture on a platform."""
    one, two, person = rng.choice(TOPICS), rng.choice(TOPICS + PROJECTS), rng.choice(PEOPLE)
    paths: tuple[str, ...] = (
        f"/@{person}{one}", f"/@{person}{one}/{_title(rng)}", f"/{person}/{two}", f"/{person}{one}", f"/users/{person}",
        f"/u/{person}-{one}", f"/{person}/{one}-{two}", f"/p/{_some_id(rng)}", f"/channel/{_some_id(rng)}", f"/{person}.{one}",
        f"/{person}/status/{_number(rng)}{_number(rng)}", f"/groups/{one}{two}",
    )  # fmt: skip
    return rng.choice(paths)


PATHS: Final = (_of_topics, _of_topics, _of_dates, _of_old_site, _of_documents, _of_references, _of_people)
"""The kinds of paths; those of shops, clubs and companies count twice."""
