"""The syntax trees of the project's files."""

from __future__ import annotations

import ast
import gc
from pathlib import Path


def parsed(source: Path) -> ast.Module:
    """The tree of a file.

    Without garbage collection meanwhile: futures of earlier tests that are collected log their exceptions, and what
    formats a traceback parses too, which Python 3.11 does not allow within a parse (SystemError).
    """
    gc.disable()
    try:
        return ast.parse(source.read_text())
    finally:
        gc.enable()
