"""The steps of the deployment page, run as typed below a folder that stands for the root of a host. Stubs note the calls of
the programs that would change this machine or reach others.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gate.policyfile import load_policy
from gate.settings import PREFIX, read_settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "deploy" / "README.md").read_text()
NOTE = '#!/bin/sh\necho "$(basename "$0") $*" >> "$CALLS"\n'
STUBS = {
    "useradd": NOTE,
    "systemctl": NOTE,
    "upload-gate": f'#!/bin/sh\nexec {sys.executable} -m gate.cli.main "$@"\n',
    "python3.11": f"""{NOTE}
case "$*" in
"-m pip wheel --no-deps --wheel-dir dist .") mkdir -p dist && : > dist/upload_gate-0.1.0-py3-none-any.whl ;;
"-m venv "*) mkdir -p "$3/bin" && cp "$STUBS/pip" "$STUBS/upload-gate" "$3/bin" ;;
*) exit 1 ;;
esac
""",
    "pip": f"""{NOTE}
file="${{2%\\[streams\\]}}" && [ "$1" = install ] && [ -f "$file" ]
""",
    # Compose takes variables from the environment and from .env beside the file, in every command
    "docker": f"""{NOTE}
[ "$1 $2" = "compose -f" ] && [ -f "$3" ] || exit 1
[ -n "$UPLOAD_GATE_SALT" ] || grep -q "^UPLOAD_GATE_SALT=." "$(dirname "$3")/.env"
""",
    "kubectl": f"""{NOTE}
for argument; do
  case "$argument" in --from-file=*) [ -f "${{argument##*=}}" ] || exit 1 ;; esac
done
""",
}


class Host:
    """The root of a host, a checkout on it, and the calls of stubs."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.checkout = folder / "checkout"
        self.stubs = folder / "stubs"
        for made in (self.stubs, self.checkout, self.root / "etc" / "systemd" / "system"):
            made.mkdir(parents=True)
        for name in ("config", "deploy"):
            shutil.copytree(ROOT / name, self.checkout / name, ignore=shutil.ignore_patterns("secrets", ".env"))
        for name, text in STUBS.items():
            (self.stubs / name).write_text(text)
            (self.stubs / name).chmod(0o755)

    @property
    def calls(self) -> list[str]:
        """What was called, without the folder of the root."""
        return (self.root / "calls").read_text().replace(str(self.root), "").splitlines()

    def run(self, section: str) -> None:
        """Run the commands of a section of the page; all must succeed."""
        text = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
        steps = "set -e\n" + "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
        below_root = re.sub(r"(?<![\w.])/(etc|opt|var)/", rf"{self.root}/\1/", steps)
        environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)} | {
            "PATH": f"{self.stubs}:{os.environ['PATH']}", "CALLS": str(self.root / "calls"), "STUBS": str(self.stubs),
            "PYTHONPATH": str(ROOT), "HOME": str(self.root),
        }  # fmt: skip
        command = ["sh", "-c", below_root]
        done = subprocess.run(command, cwd=self.checkout, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Host]:
    """Gives a host on which a section's steps have run, once for all tests."""
    hosts: dict[str, Host] = {}

    def host(section: str) -> Host:
        if section not in hosts:
            hosts[section] = Host(tmp_path_factory.mktemp("host"))
            hosts[section].run(section)
        return hosts[section]

    return host


def test_the_steps_for_systemd_leave_all_that_the_units_read_and_start_them_last(ran: Callable[[str], Host]) -> None:
    host = ran("systemd")
    units = sorted((host.root / "etc" / "systemd" / "system").iterdir())
    text = "\n".join(unit.read_text() for unit in units)
    files = re.findall(r"^EnvironmentFile=(\S+)|^Environment=\w+=(/etc/\S+)|^ExecStart=(\S+)", text, re.MULTILINE)

    assert [unit.name for unit in units] == ["upload-gate-worker.service", "upload-gate.service"]
    assert len(files) == 6
    assert {path for match in files for path in match if path if not (host.root / path[1:]).is_file()} == set()
    assert "pip install dist/upload_gate-0.1.0-py3-none-any.whl[streams]" in host.calls
    assert "useradd --system --home-dir /var/lib/upload-gate upload-gate" in host.calls
    assert host.calls[-2:] == ["systemctl daemon-reload", "systemctl enable --now upload-gate upload-gate-worker"]


def test_the_files_of_the_steps_for_systemd_are_ones_that_a_gate_takes_and_the_secret_is_kept(
    ran: Callable[[str], Host],
) -> None:
    folder = ran("systemd").root / "etc" / "upload-gate"
    lines = (folder / "environment").read_text().splitlines()

    settings = read_settings(dict(line.split("=", 1) for line in lines))

    assert stat.S_IMODE((folder / "environment").stat().st_mode) == 0o600
    assert {line.split("=")[0] for line in lines} == {f"{PREFIX}{name}" for name in ("REDIS", "KAFKA", "SALT")}
    assert len(settings.salt) == 64
    assert load_policy(folder / "policy.toml").hash
    for name in ("policy.toml", "tokens.json"):
        assert (folder / name).stat().st_mode & stat.S_IROTH


def test_the_steps_for_compose_keep_one_salt_for_all_commands(ran: Callable[[str], Host]) -> None:
    host = ran("Compose")

    assert [call.split()[4] for call in host.calls] == ["up", "exec"]
    assert (host.checkout / "deploy" / "secrets" / "tokens.json").is_file()


def test_the_steps_for_kubernetes_make_what_the_pods_refer_to_before_they_start(ran: Callable[[str], Host]) -> None:
    calls = ran("Kubernetes").calls
    texts = "\n".join((ROOT / "deploy" / "k8s" / name).read_text() for name in ("gate.yaml", "worker.yaml"))
    made = {call.split()[4 if "generic" in call else 3] for call in calls if call.startswith("kubectl create")}
    referred = set(re.findall(r"(?:secretRef|configMap): { name: ([a-z-]+) }", texts))

    assert made == referred == {"upload-gate", "upload-gate-tokens", "upload-gate-policy"}
    assert [call.split()[1] for call in calls] == ["create"] * 3 + ["apply", "rollout", "exec"]
