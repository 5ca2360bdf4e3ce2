"""The steps of the deployment page for systemd, run as typed below a folder that stands for the root of a host."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gate.policyfile import load_policy
from gate.settings import PREFIX, read_settings

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "deploy" / "README.md").read_text().split("\n## systemd\n")[1].split("\n## ")[0]
PYTHON = """#!/bin/sh
echo "python $*" >> "$CALLS"
case "$*" in
"-m pip wheel --no-deps --wheel-dir dist .") mkdir -p dist && : > dist/upload_gate-0.1.0-py3-none-any.whl ;;
"-m venv "*) mkdir -p "$3/bin" && cp "$STUBS/pip" "$STUBS/upload-gate" "$3/bin" ;;
*) exit 1 ;;
esac
"""
PIP = """#!/bin/sh
echo "pip $*" >> "$CALLS"
file="${2%\\[streams\\]}" && [ "$1" = install ] && [ -f "$file" ]
"""
UPLOAD_GATE = f'#!/bin/sh\nexec {sys.executable} -m gate.cli.main "$@"\n'
NOTES_CALL = '#!/bin/sh\necho "$(basename "$0") $*" >> "$CALLS"\n'


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A host on which every step has run. Making an environment, installing, users and systemd are stubs that note calls."""
    tmp_path = tmp_path_factory.mktemp("host")
    stubs, checkout, root = tmp_path / "stubs", tmp_path / "checkout", tmp_path / "root"
    for folder in (stubs, checkout, root / "etc" / "systemd" / "system"):
        folder.mkdir(parents=True)
    for name in ("config", "deploy"):
        (checkout / name).symlink_to(ROOT / name)
    stub_texts = {
        "python3.11": PYTHON,
        "pip": PIP,
        "upload-gate": UPLOAD_GATE,
        "useradd": NOTES_CALL,
        "systemctl": NOTES_CALL,
    }
    for name, text in stub_texts.items():
        (stubs / name).write_text(text)
        (stubs / name).chmod(0o755)
    steps = "set -e\n" + "\n".join(re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL))
    below_root = re.sub(r"(?<![\w.])/(etc|opt|var)/", rf"{root}/\1/", steps)
    environment = {
        **os.environ, "PATH": f"{stubs}:{os.environ['PATH']}", "CALLS": str(root / "calls"), "STUBS": str(stubs),
        "PYTHONPATH": str(ROOT),
    }  # fmt: skip

    done = subprocess.run(
        ["sh", "-c", below_root], cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    return root


def test_the_steps_leave_all_that_the_units_read_and_start_them_last(host: Path) -> None:
    units = sorted((host / "etc" / "systemd" / "system").iterdir())
    text = "\n".join(unit.read_text() for unit in units)
    files = re.findall(r"^EnvironmentFile=(\S+)|^Environment=\w+=(/etc/\S+)|^ExecStart=(\S+)", text, re.MULTILINE)
    calls = (host / "calls").read_text().splitlines()

    assert [unit.name for unit in units] == ["upload-gate-worker.service", "upload-gate.service"]
    assert {path for match in files for path in match if path if not (host / path[1:]).is_file()} == set()
    assert len(files) == 6
    assert any(call.startswith("pip install dist/upload_gate-") for call in calls)
    assert any(call.startswith("useradd ") and call.endswith(" upload-gate") for call in calls)
    assert calls[-2:] == ["systemctl daemon-reload", "systemctl enable --now upload-gate upload-gate-worker"]


def test_the_files_of_the_steps_are_ones_that_a_gate_takes_and_the_secret_is_kept(host: Path) -> None:
    folder = host / "etc" / "upload-gate"
    lines = (folder / "environment").read_text().splitlines()

    settings = read_settings(dict(line.split("=", 1) for line in lines))

    assert stat.S_IMODE((folder / "environment").stat().st_mode) == 0o600
    assert {line.split("=")[0] for line in lines} == {f"{PREFIX}{name}" for name in ("REDIS", "KAFKA", "SALT")}
    assert len(settings.salt) == 64
    assert load_policy(folder / "policy.toml").hash
    for name in ("policy.toml", "tokens.json"):
        assert (folder / name).stat().st_mode & stat.S_IROTH
