"""What operators read is true: alerts name metrics and runbooks that exist, and runbooks commands that exist."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from typer.main import get_command

from gate.cli.main import COMMANDS, GROUP, build
from gate.metrics import PROCESS_TABLE, TABLE
from gate.records.topics import Topics
from streams.worker.metrics import WorkerMetrics

ROOT = Path(__file__).parents[2]
METRIC = re.compile(r"\bupload_gate_[a-z_]+")
RUNBOOKS = ROOT / "deploy" / "runbooks"
ALERTS = (ROOT / "deploy" / "prometheus" / "alerts.yml").read_text()
HEADINGS = ("**What fired.**", "**What it means.**", "**What to type.**", "**When it worked.**")


def exported() -> set[str]:
    """The names of all samples that a gate and a worker export, without histograms' endings."""
    registry = CollectorRegistry()
    WorkerMetrics(registry)
    families = [(family.name, family.type) for family in registry.collect()]
    return {name + ("_total" if kind == "counter" else "") for name, kind in families} | {
        named.name for named in (*TABLE, *PROCESS_TABLE)
    }


def alerts() -> list[tuple[str, str]]:
    """Each alert with its text."""
    parts = re.split(r"- alert: ", ALERTS)[1:]
    return [(part.split("\n", 1)[0], part) for part in parts]


def test_every_metric_in_alerts_runbooks_and_readme_is_one_of_ours() -> None:
    places = [*ROOT.glob("deploy/**/*.yml"), *ROOT.glob("deploy/**/*.md"), ROOT / "README.md"]
    named = {name for place in places for name in METRIC.findall(place.read_text())}

    assert named
    assert named - exported() == set()


QUOTED = re.compile(r'"([A-Z]?[a-z]+ [^"$`]{4,70})"')
OF_ANY_SERVER_OR_PARTITION = re.compile(r"^(Kafka|Redis|partition N) ")


def test_what_runbooks_quote_from_logs_and_commands_stands_in_the_source() -> None:
    """The name of a server or the number of a partition is put in where the line is written."""
    source = "".join(path.read_text() for package in ("gate", "streams") for path in (ROOT / package).rglob("*.py"))
    typed = "".join(re.findall(r"`[^`]+`|\n {4,}upload-gate .+", "".join(map(str, pages().values()))))
    quoted = {(name, found) for name, page in pages().items() for found in QUOTED.findall(page) if found not in typed}

    assert len(quoted) >= 10
    assert {(name, found) for name, found in quoted if OF_ANY_SERVER_OR_PARTITION.sub("", found) not in source} == set()


def pages() -> dict[str, str]:
    """The text of each runbook, its lines joined."""
    return {path.name: re.sub(r"\n +", " ", path.read_text()) for path in RUNBOOKS.glob("*.md")}


@pytest.mark.parametrize(("name", "text"), alerts(), ids=[name for name, _ in alerts()])
def test_every_alert_waits_has_a_severity_and_says_what_is_wrong(name: str, text: str) -> None:
    assert re.fullmatch(r"UploadGate[A-Za-z]+", name)
    assert re.search(r"\n +for: \d+[ms]\n", text)
    assert re.search(r"severity: (page|ticket) ", text)
    assert re.search(r"\n +summary: \S.+\.\W?\n", text)


def test_the_access_lists_of_kafka_name_topics_that_exist_and_leave_none_out() -> None:
    """A rule that names no topic of ours grants nothing, and a topic that no rule names may be anybody's."""
    rules = (ROOT / "deploy" / "kafka" / "acls").read_text()
    readme = (ROOT / "deploy" / "README.md").read_text()

    assert set(re.findall(r"--topic (\S+)", rules)) == {topic.name for topic in Topics().all()}
    users = set(re.findall(r"User:(\w+)", rules))
    assert users == set(
        re.findall(r"^\| `(\w+)` \|", readme.split("### Users of Kafka")[1].split("###")[0], re.MULTILINE)
    )
    writers = re.findall(r"User:(\w+) .*--operation Write .*--topic gate\.controls\.v1", rules)
    assert sorted(writers) == ["keeper", "oncall"]


def test_every_alert_has_a_runbook_of_its_own() -> None:
    runbooks = [match[1] for _, text in alerts() if (match := re.search(r"runbook: (\S+)", text))]

    assert len(runbooks) == len(set(runbooks)) == ALERTS.count("alert:")
    assert all((ROOT / runbook).is_file() for runbook in runbooks)


@pytest.mark.parametrize(("name", "text"), alerts(), ids=[name for name, _ in alerts()])
def test_a_runbook_says_what_fired_what_it_means_what_to_type_and_what_you_see_then(name: str, text: str) -> None:
    match = re.search(r"runbook: (\S+)", text)
    assert match
    page = (ROOT / match[1]).read_text()

    places = [page.find(heading) for heading in HEADINGS]

    assert -1 not in places
    assert places == sorted(places)
    assert f"`{name}`" in page.split(HEADINGS[1])[0]
    assert re.search(r"\n1\. ", page)


def test_every_command_and_page_that_a_runbook_names_exists() -> None:
    from streams.cli.dlq import dlq

    known = set(COMMANDS) | {entry.name for entry in entry_points(group=GROUP)}
    letters = {command.name for command in dlq.registered_commands}
    pages = {path.name for path in RUNBOOKS.glob("*.md")}
    text = "\n".join(path.read_text() for path in RUNBOOKS.glob("*.md"))

    assert set(re.findall(r"upload-gate ([a-z]+)", text)) <= known
    assert set(re.findall(r"\bdlq ([a-z]+)", text)) <= letters
    assert set(re.findall(r"`([a-z-]+\.md)`", text)) <= pages


def typed() -> list[str]:
    """Every command of ours that a page for operators gives, in a block or inside a sentence."""
    pages = [*ROOT.glob("*.md"), *ROOT.glob("deploy/**/*.md"), *ROOT.glob("config/**/*.md")]
    text = "\n".join(page.read_text().replace("\\\n", " ") for page in pages)
    spans = re.findall(r"`upload-gate ([a-z][^`]*)`", text.replace("\n", " "))
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    return sorted({*spans, *re.findall(r"(?:^|bin/|&& |\$\()upload-gate ([a-z][^#|;&\n]*)", blocks, re.MULTILINE)})


@pytest.mark.parametrize("line", typed())
def test_every_command_that_a_page_gives_exists_with_its_options(line: str) -> None:
    given = line.split()
    command: Any = get_command(build(given))
    names = [*given]

    while hasattr(command, "commands") and names and not names[0].startswith("-"):
        command = command.commands[names.pop(0)]

    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    asked = set(re.findall(r"(?<!\S)\[?(-{1,2}[a-z][a-z-]*)", " ".join(names)))
    assert asked <= options | {"--help"}
