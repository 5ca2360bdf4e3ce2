"""Files that are given where another file is meant, and names of presets that are mistyped."""

from pathlib import Path

import pytest

from gate.cli.main import run

CONFIG = Path(__file__).parents[2] / "config"


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (
            ("policy", "check", "{config}/scorecard.toml"),
            "is a scorecard, not a policy; check it with `upload-gate scorecard",
        ),
        (
            ("scorecard", "check", "{config}/policy.toml"),
            "is a policy, not a scorecard; check it with `upload-gate policy",
        ),
        (("policy", "diff", "calm", "riad"), "did you mean raid?"),
        (("policy", "diff", "Closd", "calm"), "did you mean closed?"),
        (("policy", "check", "quiet"), "presets are calm, raid, closed"),
        (("policy", "check", "none/raid"), "No such file or directory"),
    ],
)
def test_a_file_that_is_meant_otherwise_is_said_so(
    typed: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run([word.format(config=CONFIG) for word in typed])

    assert code == 2
    assert says in capsys.readouterr().err


def test_a_file_with_mistakes_of_its_own_kind_is_still_checked_as_that_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "policy.toml"
    file.write_text('version = 1\nterms = 3\ndefault_class = "regular"\n[classes.regular]\n')

    code = run(["policy", "check", str(file)])

    assert code == 2
    assert f"{file}:2: terms: unknown key" in capsys.readouterr().err
