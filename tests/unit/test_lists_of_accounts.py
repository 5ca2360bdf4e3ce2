"""Files of account ids, one a line, as people write them and as editors save them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gate.cli.scope_flags import accounts_in


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_list_is_read_with_and_without_the_mark_that_editors_put_first(tmp_path: Path, mark: bytes) -> None:
    file = tmp_path / "ids"
    file.write_bytes(mark + b"a-1\r\n\r\n  a-2  \na-1\n")

    assert accounts_in(file) == {"a-1", "a-2"}


def test_lines_that_are_left_out_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "ids"
    file.write_text("# the farm of today\na-1\n#a-2\n")

    found = accounts_in(file)

    assert found == {"a-1"}
    assert f"left out of {file}: 2 lines beginning with #" in capsys.readouterr().err
