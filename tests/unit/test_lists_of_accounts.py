"""Files of account ids, one a line, as people write them and as editors save them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gate.cli.scope_flags import accounts_in
from gate.core.duration import HOUR_US
from gate.core.fields.ids import key
from gate.core.fields.reasons import Unusable
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Action, Scope
from gate.errors import OperatorError
from gate.records.pause import decode_pause, encode_pause


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


@pytest.mark.parametrize("id_", ["new emoji \U0001fae9", "no\xa0break", "private \ue000", "line\u2028end"])
def test_a_list_takes_each_id_that_a_check_takes(tmp_path: Path, id_: str) -> None:
    file = tmp_path / "ids"
    file.write_text(f"a-1\n{id_}\n", encoding="utf-8")
    try:
        key(id_)
    except Unusable:
        with pytest.raises(OperatorError, match="a character that cannot be shown: line"):
            accounts_in(file)
        return

    listed = accounts_in(file)

    assert listed == {"a-1", id_}
    pause = Pause("p-1", 1, Scope(accounts=listed), Action.STOP, "raid", "", "ada", None, HOUR_US, set_at_us=1)
    assert decode_pause(encode_pause(pause)) == pause
