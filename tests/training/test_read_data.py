"""A user's rows are either learned from or accounted for, each with its reason."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from isthmus import IsthmusProcessor
from isthmus.data import vetting
from isthmus.data.quarantine import Quarantine
from isthmus.evaluation.generation import askable
from isthmus.training.data import FileData, MicroworldData
from isthmus.training.examples import Conversations
from isthmus.training.read_data import read_data
from tests.tiny import save_language, save_vision, tiny_image
from tests.tiny_data import rows, write_data

MAX_LENGTH = 200


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> IsthmusProcessor:
    folder = tmp_path_factory.mktemp("towers")
    towers = {"vision": save_vision(folder / "v"), "language": save_language(folder / "l")}
    return IsthmusProcessor.from_towers(**towers, connector="linear")


def talk(*images: str, answer: str | None = "noise", words: str = "What?") -> dict[str, Any]:
    """A conversation about images."""
    shown = [{"type": "image"} for _ in images]
    messages = [{"role": "user", "content": [*shown, {"type": "text", "text": words}]}]
    if answer is not None:
        messages.append({"role": "assistant", "content": answer})
    return {"images": list(images), "messages": messages}


def one_mark_too_many(row: dict[str, Any]) -> dict[str, Any]:
    row["messages"][0]["content"].append({"type": "image"})
    return row


FAULTY: dict[str, list[Any]] = {
    "broken_json": ['{"messages": [', '{"id": "\xff"}'],
    "wrong_layout": ["[1]", "3", {"text": "hm"}, {"messages": "hm"}, talk() | {"images": 3}],
    "outside_image_root": [talk("../secret.png"), talk("/etc/passwd")],
    "image_missing": [talk("absent.png"), talk("images"), talk(f"{'long' * 100}.png")],
    "image_empty": [talk("empty.png")],
    "not_an_image": [talk("page.png")],
    "image_damaged": [talk("torn.png"), talk("torn.jpg")],
    "image_too_large": [talk("bomb.png")],
    "image_marks": [
        one_mark_too_many(talk("images/0-0.png")),
        talk() | {"images": ["images/0-0.png"]},
        talk(words="<image>"),
    ],
    "no_answer": [talk(answer=None)],
    "empty_answer": [talk(answer=" \n")],
    "too_long": [talk(words="What" * MAX_LENGTH)],
}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileData:
    """A thousand rows, of which 150 are faulty in every way, spread over the file."""
    folder = tmp_path / "data"
    write_data(folder, 8)
    (tmp_path / "secret.png").write_bytes((folder / "images/0-0.png").read_bytes())
    (folder / "empty.png").touch()
    (folder / "page.png").write_text("<html>404</html>")
    for name in ("torn.png", "torn.jpg"):
        tiny_image(width=90, height=90).save(folder / name)
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])
    Image.new("1", (2000, 1500)).save(folder / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000 * 1500 // 2 - 1)
    faulty = [row for group in FAULTY.values() for row in group]
    good = rows(8)
    lines: list[bytes] = []
    for number in range(1000):
        is_faulty = number % 20 in (3, 11, 16)  # 150 of them
        row = faulty[(number * 3 // 20) % len(faulty)] if is_faulty else good[number % 8]
        text = row if isinstance(row, str) else json.dumps(row | {"id": f"row-{number}"})
        lines.append(text.encode("latin-1") + b"\n")
    (folder / "data.jsonl").write_bytes(b"".join(lines))
    return FileData(file=folder / "data.jsonl", image_root=folder, max_bad_share=0.15)


def expected_counts() -> Counter[str]:
    reasons = [reason for reason, group in FAULTY.items() for _ in group]
    numbers = [n for n in range(1000) if n % 20 in (3, 11, 16)]
    return Counter(reasons[(n * 3 // 20) % len(reasons)] for n in numbers)


def quarantined(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "quarantine.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_every_faulty_row_is_counted_and_every_good_one_used(
    data: FileData, processor: IsthmusProcessor, tmp_path: Path
) -> None:
    read = read_data(
        data,
        Conversations(processor, MAX_LENGTH),
        quarantine=Quarantine(tmp_path / "run"),
        num_workers=2,
    )
    found = quarantined(tmp_path / "run")
    assert Counter(row["reason"] for row in found) == expected_counts()
    assert set(expected_counts()) == set(FAULTY)
    numbers = {row["row"] - 1 for row in found}
    assert numbers == {n for n in range(1000) if n % 20 in (3, 11, 16)}
    used = [sample.id for sample in read.samples]
    assert used == [f"row-{n}" for n in range(1000) if n not in numbers]
    assert all(row["file"] == str(data.file) and row["message"] for row in found)
    broken = [row for row in found if row["reason"] == "image_damaged"]
    assert all(row["id"] == f"row-{row['row'] - 1}" for row in broken)


def test_above_the_share_training_stops_and_the_rows_are_named(
    data: FileData, processor: IsthmusProcessor, tmp_path: Path
) -> None:
    strict = replace(data, max_bad_share=0.149)
    reason = r"150 of 1000 rows cannot be used \(.*4 broken_json|.*--max-bad-share"
    with pytest.raises(ValueError, match=reason):
        read_data(
            strict,
            Conversations(processor, MAX_LENGTH),
            quarantine=Quarantine(tmp_path / "run"),
        )
    assert len(quarantined(tmp_path / "run")) == 150


def test_a_verdict_is_kept_until_an_image_changes(
    processor: IsthmusProcessor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = FileData(file=write_data(tmp_path, 40), image_root=tmp_path)
    tried: list[Path] = []
    honest = vetting.check_image

    def watched(path: Path) -> None:
        tried.append(path)
        honest(path)

    monkeypatch.setattr(vetting, "check_image", watched)
    first = read_data(data, Conversations(processor))
    assert len(tried) == len(set(tried)) == 40
    assert read_data(data, Conversations(processor)) == first
    assert len(tried) == 40
    (tmp_path / "images/5-0.png").write_bytes(b"no longer an image")
    again = read_data(data, Conversations(processor))
    assert len(tried) == 80
    assert [(each.id, each.reason) for each in again.rejected] == [("row-5", "not_an_image")]
    assert again.fingerprint != first.fingerprint


def test_quarantined_rows_of_several_files_stand_in_one(tmp_path: Path) -> None:
    def vetted(*numbers: int) -> vetting.Vetted:
        bad = (
            vetting.Rejected(id=f"{n}", file="f", row=n, reason="no_answer", message="m")
            for n in numbers
        )
        return vetting.Vetted(samples=(), rejected=list(bad))

    vetted().write(tmp_path)
    assert not (tmp_path / "quarantine.jsonl").exists()
    vetted(1, 2).write(tmp_path)
    vetted(2, 3).write(tmp_path)
    assert [row["row"] for row in quarantined(tmp_path)] == [1, 2, 3]


def test_a_template_that_refuses_a_conversation_is_the_rows_fault(
    processor: IsthmusProcessor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuses = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    monkeypatch.setattr(processor, "chat_template", refuses + str(processor.chat_template))
    file = write_data(tmp_path, 20)
    row = talk() | {"id": "told"}
    row["messages"].insert(0, {"role": "system", "content": "Be brief."})
    file.write_text(file.read_text() + json.dumps(row))
    read = read_data(FileData(file=file, image_root=tmp_path), Conversations(processor))
    assert [(each.id, each.reason) for each in read.rejected] == [("told", "chat_template")]


def test_the_embedded_world_is_read_like_any_file(processor: IsthmusProcessor) -> None:
    samples = read_data(MicroworldData(split="val", num=4), Conversations(processor)).samples
    assert len(samples) == 4
    assert any(sample.images for sample in samples)


def test_what_can_be_learned_from_may_not_be_asked_about(
    processor: IsthmusProcessor, tmp_path: Path
) -> None:
    """The verdict of training is none for an evaluation, nor the other way round."""
    file = write_data(tmp_path, 20)
    row = {"id": "told", "messages": [{"role": "assistant", "content": "noise"}]}
    file.write_text(file.read_text() + json.dumps(row))
    data = FileData(file=file, image_root=tmp_path)

    def asked() -> vetting.Vetted:
        about = {"tried": "to ask about", **vetting.encoding_of(processor, None)}
        return vetting.vet(file, tmp_path, check=askable(processor, None), about=about)

    assert len(read_data(data, Conversations(processor)).samples) == 21
    assert [each.reason for each in asked().rejected] == ["no_question"]
    assert len(read_data(data, Conversations(processor)).samples) == 21
