"""Prometheus' own checker of rules: from the path, else from Debian's package, unpacked into the cache and not installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest


class PromtoolMissing(Exception):
    """It is not here and cannot be fetched; the message says why."""


def promtool() -> str:
    """The path of the program. Raises PromtoolMissing."""
    if found := shutil.which("promtool"):
        return found
    base = os.environ.get("XDG_CACHE_HOME")
    cached = (Path(base) if base else Path.home() / ".cache") / "upload-gate" / "promtool"
    if not cached.is_file():
        _fetch(cached)
    return str(cached)


def promtool_or_skip() -> str:
    """The path of the program; skips where it cannot be had, and fails there in CI."""
    try:
        return promtool()
    except PromtoolMissing as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


def _fetch(target: Path) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise PromtoolMissing("promtool is not on the path, and this system has no apt-get to fetch it with")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        download = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", "prometheus"]
        if _run(download, folder).returncode != 0:  # the lists of packages may be missing
            _run(["apt-get", "-qq", "update"], folder)
            done = _run(download, folder)
            if done.returncode != 0:
                raise PromtoolMissing(f"promtool cannot be fetched: {done.stderr.strip()}")
        (package,) = Path(folder).glob("prometheus_*.deb")
        subprocess.run(["dpkg-deb", "-x", package.name, "x"], cwd=folder, check=True)
        Path(folder, "x", "usr", "bin", "promtool").replace(target)  # whole or not at all, for runs side by side


def _run(command: list[str], folder: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=180)
