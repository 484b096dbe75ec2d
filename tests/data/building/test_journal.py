"""The journal: wherever it is torn, what was whole before stays, and the rest is written anew."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.data.building.journal import Journal, write_lines

ABOUT = {"settings": {"seed": 1}}
ENTRIES = [{"row": n, "text": "é" * n} for n in range(5)]


def test_entries_come_back_in_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "folder/a.jsonl", ABOUT)
    assert list(journal) == []
    journal.extend(ENTRIES[:2], every=1)
    journal.extend(ENTRIES[2:], every=100)
    assert list(journal) == list(Journal(journal.path, ABOUT)) == ENTRIES


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([b"", b"\n", b"\0\0\n", b"null\n", b'{"half a li']))
def test_a_torn_end_is_cut_off_and_mended(cut: int, garbage: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.jsonl"
        journal = Journal(path, ABOUT)
        head = path.stat().st_size
        journal.extend(ENTRIES, every=1)
        whole = path.read_bytes()
        size = head + cut % (len(whole) - head + 1)
        path.write_bytes(whole[:size] + garbage)
        mended = Journal(path, ABOUT)
        there = list(mended)
        assert there == ENTRIES[: len(there)]
        assert len(there) >= whole[head:size].count(b"\n")
        mended.extend(ENTRIES[len(there) :], every=2)
        assert path.read_bytes() == whole


def test_what_was_begun_with_something_else_is_refused(tmp_path: Path) -> None:
    Journal(tmp_path / "a.jsonl", ABOUT)
    with pytest.raises(ValueError, match="was begun with other settings, detector; give"):
        Journal(tmp_path / "a.jsonl", {"settings": {"seed": 2}, "detector": "x"})
    (tmp_path / "b.jsonl").write_text('{"id": 1}\n')
    with pytest.raises(ValueError, match="is no journal"):
        Journal(tmp_path / "b.jsonl", ABOUT)
    assert json.loads((tmp_path / "b.jsonl").read_text()) == {"id": 1}


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    def dying() -> object:
        yield b"one\n"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_lines(tmp_path / "a.jsonl", dying())
    assert not (tmp_path / "a.jsonl").exists()
