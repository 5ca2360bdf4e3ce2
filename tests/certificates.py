"""Certificates of authorities that only a test knows."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def make_certificates(home: Path) -> Path:
    """`home`, with two authorities and, of each, a certificate for 127.0.0.1: `ours` and `other`."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl")

    def run(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], cwd=home, check=True, capture_output=True)

    (home / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for name in ("ours", "other"):
        run(
            "req",
            "-x509",
            *new_key,
            "-keyout",
            f"{name}-ca.key",
            "-out",
            f"{name}-ca.pem",
            "-subj",
            f"/CN={name}",
            "-days",
            "2",
        )
        run("req", *new_key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", "/CN=127.0.0.1")
        run("x509", "-req", "-in", f"{name}.csr", "-CA", f"{name}-ca.pem", "-CAkey", f"{name}-ca.key", "-CAcreateserial",
            "-out", f"{name}.pem", "-days", "2", "-extfile", "names")  # fmt: skip
        run("pkcs8", "-topk8", "-nocrypt", "-in", f"{name}.key", "-out", f"{name}.pkcs8")
    return home
