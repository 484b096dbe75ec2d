"""Samples that are made when they are due: shares, resume, faults and counts."""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

from isthmus.data.faults import NothingReadable
from isthmus.data.packing import Packing
from isthmus.data.quarantine import Quarantine
from isthmus.data.sample import Sample
from isthmus.modeling.processing_isthmus import IsthmusProcessor
from isthmus.training.course import Place, Planned
from isthmus.training.data import FileData, MixtureData
from isthmus.training.examples import Conversations
from isthmus.training.read_mixture import read_drawn
from isthmus.training.windows import Windows
from tests.tiny import tiny_image, tiny_model

COLOURS = ("red", "blue", "green", "pink")


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> IsthmusProcessor:
    return tiny_model(tmp_path_factory.mktemp("model"), connector="linear")[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A mixture of questions, captions and conversations without a picture, 200 rows of each."""
    (tmp_path / "images").mkdir()
    for number in range(40):
        tiny_image(seed=number).save(tmp_path / "images" / f"{number}.png")
    asked = [
        {"image": f"images/{n % 40}.png", "question": f"What is {n}?", "answer": COLOURS[n % 4]}
        for n in range(200)
    ]
    told = [
        {"image": f"images/{n % 40}.png", "caption": f"a {n} " * (n % 9 + 1)} for n in range(200)
    ]
    said = [
        {"messages": [{"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": "no"}]}
        for n in range(200)
    ]
    for name, rows in (("asked", asked), ("told", told), ("said", said)):
        write_rows(tmp_path / f"{name}.jsonl", rows)
    fields = {"question": "question", "answer": "answer"}
    field_map = {"fact": "vqa", "image": "{image}", "fields": fields}
    entries = [
        {"name": "asked", "source": field_map, "file": "asked.jsonl", "weight": 0.5},
        {"name": "told", "file": "told.jsonl", "weight": 0.3},
        {"name": "said", "file": "said.jsonl", "weight": 0.2, "text_only": True},
    ]
    mixture = {"balance": {"rule": "tuned"}, "samples": 120, "entries": entries}
    (tmp_path / "mixture.yaml").write_text(yaml.safe_dump(mixture))
    return tmp_path


def write_rows(file: Path, rows: list[Any]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def course(
    folder: Path,
    processor: IsthmusProcessor,
    *,
    packed: bool = False,
    lazy: bool = True,
    seed: int = 0,
    data: FileData | MixtureData | None = None,
    output: Path | None = None,
) -> Windows:
    examples = Conversations(processor, 512)
    data = data or MixtureData(mixture=folder / "mixture.yaml", lazy=lazy)
    quarantine = Quarantine(output)
    found = read_drawn(data, examples, seed=seed, quarantine=quarantine)
    return Windows(
        drawn=found.drawn,
        examples=examples,
        parts=_itself,
        features=None,
        batch_size=4,
        packing=Packing(max_tokens=120, max_images=6) if packed else None,
        seed=seed,
        quarantine=quarantine,
        max_bad_share=data.max_bad_share,
        tried_before=not data.lazy,
    )


def _itself(sample: Sample) -> list[Sample]:
    return [sample]


def due(windows: Windows, place: Place, num: int) -> list[tuple[Place, tuple[str, ...]]]:
    return [(each.next, ids(each)) for each in islice(windows.planned(place), num)]


def ids(planned: Planned) -> tuple[str, ...]:
    return planned.dataset.batch(planned.indices).ids


def epoch(windows: Windows) -> Iterator[Planned]:
    for each in windows.planned((0, 0)):
        yield each
        if each.next == (windows.num_windows, 0):
            return


def test_shares_are_kept_to_the_letter(folder: Path, processor: IsthmusProcessor) -> None:
    names = Counter(
        name.split("-")[0] for each in epoch(course(folder, processor)) for name in ids(each)
    )
    assert names == {"asked": 60, "told": 36, "said": 24}


@pytest.mark.slow
@pytest.mark.parametrize("packed", [False, True])
def test_a_course_goes_on_at_twenty_places_as_it_would_have(
    folder: Path, processor: IsthmusProcessor, packed: bool
) -> None:
    mixture = yaml.safe_load((folder / "mixture.yaml").read_text()) | {"samples": 60}
    (folder / "mixture.yaml").write_text(yaml.safe_dump(mixture))
    steps = due(course(folder, processor, packed=packed), (0, 0), 30)
    for skipped in sorted(Random(0).sample(range(1, 29), 20)):
        # From the window that is due on, each course is new.
        again = course(folder, processor, packed=packed)
        (number, batch), names = steps[skipped - 1][0], steps[skipped][1]
        window = again.window(number)
        assert window.dataset.batch(window.batches[batch]).ids == names
    whole = due(course(folder, processor, packed=packed), steps[9][0], 12)
    assert whole == steps[10:22]
    assert len({name for _, batch in steps for name in batch}) > 50


@pytest.mark.slow
def test_rows_tried_before_and_rows_tried_when_due_are_the_same_samples(
    folder: Path, processor: IsthmusProcessor
) -> None:
    lazy, eager = (course(folder, processor, lazy=lazy) for lazy in (True, False))
    assert due(lazy, (0, 0), 40) == due(eager, (0, 0), 40)
    assert due(lazy, (0, 0), 40) != due(course(folder, processor, seed=1), (0, 0), 40)


def test_the_first_batch_is_the_largest(folder: Path, processor: IsthmusProcessor) -> None:
    window = course(folder, processor).window(0)
    lengths = window.dataset.lengths()
    sizes = [len(batch) * max(lengths[i] for i in batch) for batch in window.batches]
    assert sizes[0] == max(sizes)
    assert sizes != sorted(sizes, reverse=True)


def test_every_fault_is_counted_and_every_other_row_used(
    folder: Path, processor: IsthmusProcessor, tmp_path: Path
) -> None:
    """One file of which three rows in twenty have a fault, each of another kind."""
    rows: list[Any] = [
        {"id": f"{n}", "image": f"images/{n % 40}.png", "caption": "a thing"} for n in range(200)
    ]
    (folder / "images/broken.png").write_bytes((folder / "images/0.png").read_bytes()[:60])
    (folder / "images/noise.png").write_bytes(b"noise")
    (folder / "images/none.png").write_bytes(b"")
    rows[7]["image"] = "images/gone.png"
    rows[8]["image"] = "../outside.png"
    rows[9]["image"] = "images/broken.png"
    rows[10]["image"] = "images/noise.png"
    rows[11]["image"] = "images/none.png"
    rows[12]["caption"] = " "
    rows[13]["caption"] = "word " * 900
    rows[14] = ["no", "object"]
    rows[15] = {"id": "15", "question": "of no layout"}
    file = folder / "rows.jsonl"
    write_rows(file, rows)
    file.write_text(file.read_text() + '{"id": "torn", "ima')
    data = FileData(file=file, image_root=folder, lazy=True, max_bad_share=0.2)
    windows = course(folder, processor, data=data, output=tmp_path / "run")
    used, refused = [], 0
    for each in epoch(windows):
        refused += each.refused
        batch = each.dataset.batch(each.indices)
        refused += each.dataset.held(each.indices) - batch.num_samples
        used += batch.ids
    lines = (tmp_path / "run/quarantine.jsonl").read_text().splitlines()
    kept = [json.loads(line) for line in lines]
    assert sorted(used, key=int) == [f"{n}" for n in range(200) if not 7 <= n <= 15]
    assert (len(used), refused, len(kept)) == (191, 10, 10)
    assert {row["row"]: row["reason"] for row in kept} == {
        8: "image_missing",
        9: "outside_image_root",
        10: "image_damaged",
        11: "not_an_image",
        12: "image_empty",
        13: "empty_answer",
        14: "too_long",
        15: "wrong_layout",
        16: "wrong_layout",
        201: "broken_json",
    }
    assert {row["id"] for row in kept} >= {"9", "10", "11", "13"}
    assert all(row["file"] == str(file) and row["message"] for row in kept)


def test_a_batch_of_which_nothing_can_be_read_is_no_batch(
    folder: Path, processor: IsthmusProcessor
) -> None:
    rows = [{"image": "images/noise.png", "caption": "a thing"}]
    (folder / "images/noise.png").write_bytes(b"noise")
    write_rows(folder / "rows.jsonl", rows)
    data = FileData(file=folder / "rows.jsonl", image_root=folder, lazy=True)
    with pytest.raises(NothingReadable):
        due(course(folder, processor, data=data), (0, 0), 1)


def test_too_many_faults_in_a_row_stop_the_run(folder: Path, processor: IsthmusProcessor) -> None:
    rows = [{"image": "images/0.png", "caption": " " if n % 9 == 0 else "a"} for n in range(90)]
    write_rows(folder / "rows.jsonl", rows)
    data = FileData(file=folder / "rows.jsonl", image_root=folder, lazy=True, max_bad_share=0.1)
    reason = r"of 90 samples in a row, 10 cannot be used .* row \d+: .*--max-bad-share"
    with pytest.raises(ValueError, match=reason):
        course(folder, processor, data=data).window(0)


@pytest.mark.slow
def test_steps_of_an_epoch_are_known(folder: Path, processor: IsthmusProcessor) -> None:
    windows = course(folder, processor)
    assert windows.num_steps(1) == len(list(epoch(windows))) == 30
    packed = course(folder, processor, packed=True, lazy=False)
    assert packed.num_steps(2) == 2 * packed.num_steps(1)
    assert packed.num_steps(1) == len(list(epoch(packed))) < 30
    with pytest.raises(ValueError, match="give the schedule's steps in place of epochs"):
        course(folder, processor, packed=True).num_steps(1)


@pytest.mark.slow
def test_facts_of_rows_that_nobody_saw_cannot_be_merged(
    folder: Path, processor: IsthmusProcessor
) -> None:
    mixture = yaml.safe_load((folder / "mixture.yaml").read_text())
    mixture["entries"][0]["asking"] = {"turns": 3}
    (folder / "mixture.yaml").write_text(yaml.safe_dump(mixture))
    with pytest.raises(ValueError, match=r"'asked' merges 3 facts .* set turns to 1, or lazy"):
        course(folder, processor)
    merged = course(folder, processor, lazy=False)
    turns = [sample.messages for each in epoch(merged) for sample in each.dataset.samples]  # type: ignore[attr-defined]
    assert max(map(len, turns)) == 6
