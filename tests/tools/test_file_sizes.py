"""The size rule finds what it should, and the repository keeps it."""

from pathlib import Path

import pytest

from tools.file_sizes import Limits, complaints, count_lines, main, read_limits

REPOSITORY = Path(__file__).parents[2]


def limits(**reasons: str) -> Limits:
    return Limits(soft=4, hard=6, roots=("src",), reasons=reasons)


@pytest.mark.parametrize(
    ("lines", "reasons", "fragment"),
    [
        (4, {}, None),
        (5, {}, "soft limit is 4"),
        (6, {"a": "one table"}, None),
        (7, {"a": "one table"}, "hard limit is 6"),
        (4, {"a": "one table"}, "needs no reason any more"),
    ],
)
def test_a_file_is_judged_by_both_limits(
    lines: int, reasons: dict[str, str], fragment: str | None
) -> None:
    found = list(complaints({"a": lines}, limits(**reasons)))
    if fragment is None:
        assert found == []
    else:
        assert len(found) == 1
        assert fragment in found[0]


def test_a_reason_for_a_file_that_is_gone_is_a_complaint() -> None:
    assert len(list(complaints({}, limits(gone="because")))) == 1


def test_only_python_files_below_the_roots_count(tmp_path: Path) -> None:
    (tmp_path / "src" / "deep").mkdir(parents=True)
    (tmp_path / "src" / "deep" / "a.py").write_text("x = 1\n" * 3)
    (tmp_path / "src" / "b.txt").write_text("x\n" * 900)
    (tmp_path / "c.py").write_text("x = 1\n" * 900)
    assert count_lines(tmp_path, ("src",)) == {"src/deep/a.py": 3}


def test_the_command_fails_on_a_long_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.isthmus.file-sizes]\nsoft = 2\nhard = 3\nroots = ["src"]\n'
    )
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text("x = 1\n" * 4)
    assert main(tmp_path) == 1
    assert "src/a.py has 4 lines" in capsys.readouterr().err


def test_the_repository_keeps_its_rule() -> None:
    rule = read_limits(REPOSITORY)
    assert rule.hard <= 600
    assert list(complaints(count_lines(REPOSITORY, rule.roots), rule)) == []
