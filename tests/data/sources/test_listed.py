"""One pattern names the files of a data set, in order, and never more than was meant."""

from pathlib import Path

import pytest

from isthmus.data.sources._listed import listed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    names = (*(f"{n:05d}.tar" for n in range(8, 12)), "x-a.tar", "x-b.tar", "stats.json")
    for name in names:
        (tmp_path / name).write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("00009.tar", ["00009.tar"]),
        ("{00008..00010}.tar", ["00008.tar", "00009.tar", "00010.tar"]),
        ("x-{b,a}.tar", ["x-b.tar", "x-a.tar"]),
        ("0000{8..9}.tar", ["00008.tar", "00009.tar"]),
        ("{0,1}*.{tar,json}", ["00008.tar", "00009.tar", "00010.tar", "00011.tar"]),
        ("0001[01].tar", ["00010.tar", "00011.tar"]),
        ("x-?.tar", ["x-a.tar", "x-b.tar"]),
        (".", ["00008.tar", "00009.tar", "00010.tar", "00011.tar", "x-a.tar", "x-b.tar"]),
    ],
)
def test_a_pattern_names_files_in_order(folder: Path, pattern: str, expected: list[str]) -> None:
    assert [path.name for path in listed(folder / pattern, (".tar",))] == expected


def test_a_file_with_braces_in_its_name_is_itself(folder: Path) -> None:
    (folder / "{0..9}.tar").write_bytes(b"")
    assert listed(folder / "{0..9}.tar", (".tar",)) == [folder / "{0..9}.tar"]


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("{00010..00013}.tar", r"00012\.tar does not exist"),
        ("none.tar", r"none\.tar does not exist"),
        ("*.parquet", r"holds no file; expected some of \.tar"),
        ("{12..8}.tar", r"holds no file"),
        ("{0..99999999999999999}.tar", r"spells 99999999999999999 files; expected at most"),
        ("{1..9999}{1..9999}.tar", r"spells 99980001 files; expected at most"),
    ],
)
def test_what_a_pattern_lacks_is_told(folder: Path, pattern: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        listed(folder / pattern, (".tar",))


def test_a_folder_of_several_splits_is_not_mixed(tmp_path: Path) -> None:
    names = ("train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "cache-1f.parquet")
    for name in names:
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in listed(tmp_path, (".parquet",))] == [*names[:2]]
    (tmp_path / "test-00000-of-00001.parquet").write_bytes(b"")
    with pytest.raises(ValueError, match=r"several splits \(test, train\).*train-\*\.parquet"):
        listed(tmp_path, (".parquet",))
    assert len(listed(tmp_path / "train-*.parquet", (".parquet",))) == 2
