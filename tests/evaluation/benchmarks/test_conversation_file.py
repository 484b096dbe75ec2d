import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from isthmus.evaluation import results
from isthmus.evaluation.benchmark import SLACK
from isthmus.evaluation.benchmarks import of_kind
from isthmus.evaluation.benchmarks.conversation_file import ConversationFile
from isthmus.evaluation.requests import Answer, Generate
from isthmus.evaluation.runner import evaluate
from isthmus.evaluation.scores import SampleRow
from tests.evaluation.conftest import TinyVlm
from tests.tiny import tiny_image
from tests.tiny_data import write_data


@pytest.fixture
def benchmark(tmp_path: Path) -> ConversationFile:
    return ConversationFile(write_data(tmp_path, 8), tmp_path)


def asked(
    folder: Path, target: str = "a cat", *, task: str = "", images: int = 1, **meta: Any
) -> ConversationFile:
    """A file of one conversation; its pictures are 40 wide and 24 high."""
    names = [f"{n}.png" for n in range(images)]
    for name in names:
        tiny_image(width=40, height=24).save(folder / name)
    question = [*({"type": "image"} for _ in names), {"type": "text", "text": "Where?"}]
    messages = [
        {"role": "user", "content": question},
        {"role": "assistant", "content": target},
    ]
    row = {"id": "a", "task": task, "images": names, "messages": messages, "meta": meta}
    (folder / "one.jsonl").write_text(json.dumps(row) + "\n", "utf-8")
    return ConversationFile(folder / "one.jsonl", folder)


def scored(benchmark: ConversationFile, text: str) -> SampleRow:
    (row,) = benchmark.score({"a": Answer(id="a", text=text)}).rows
    return row


def test_it_is_found_by_the_name_of_its_file() -> None:
    assert of_kind("conversation_file") is ConversationFile
    with pytest.raises(ValueError, match="did you mean 'conversation_file'"):
        of_kind("conversation_files")


def test_it_asks_for_the_last_answer_of_each_conversation(benchmark: ConversationFile) -> None:
    requests = benchmark.requests(len)
    assert [request.id for request in requests] == [f"row-{n}" for n in range(8)]
    assert all(isinstance(r, Generate) for r in requests)
    assert requests[0].prompt.question == "And now?"
    assert requests[1].prompt.question == "What?"
    assert [len(r.prompt.images) for r in requests] == [1, 1, 2, 0, 1, 1, 2, 0]


@pytest.mark.parametrize(("length", "room"), [(3, 64), (100, 100 + SLACK)])
def test_every_answer_has_room_for_the_longest_truth(
    tmp_path: Path, length: int, room: int
) -> None:
    (request,) = asked(tmp_path, "x" * length).requests(len)
    assert request.max_new_tokens == room


def test_it_scores_exact_matches(benchmark: ConversationFile) -> None:
    texts = ["NOW 0", "a blue ring.", "4", "", "red", "blue ring", "Now 6.", "no"]
    answers = {f"row-{n}": Answer(id=f"row-{n}", text=text) for n, text in enumerate(texts)}
    scores = benchmark.score(answers)
    assert scores.metrics["exact_match"].value == 4 / 8
    assert scores.metrics["noise_exact_match"].count == 8
    assert scores.metrics["exact_match"].parse_failure_rate == 1 / 8
    assert [row.scores["exact_match"] for row in scores.rows] == [1, 1, 0, 0, 1, 0, 1, 0]


def test_the_files_that_scripts_rely_on(
    benchmark: ConversationFile, vlm: TinyVlm, tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    description = {"recipe": {}, "digest": "0123456789ab", "seed": 7}
    (tmp_path / "model" / "recipe.json").write_text(json.dumps(description))
    result = evaluate(
        vlm.model,
        vlm.processor,
        benchmark,
        folder=str(tmp_path / "model"),
        batch_size=3,
        max_new_tokens=5,
    )
    results.write(result, tmp_path / "out")
    found = json.loads((tmp_path / "out" / "results.json").read_text("utf-8"))
    low, high = found["exact_match_interval"]
    assert isinstance(found["exact_match"], float)
    assert low <= found["exact_match"] <= high
    assert found["provenance"]["recipe"] == "0123456789ab"
    assert found["provenance"]["training_seed"] == 7
    assert set(found["provenance"]["towers"]) == {"vision_tower", "connector", "language_model"}
    lines = (tmp_path / "out" / "samples.jsonl").read_text("utf-8").rstrip("\n").split("\n")
    rows = [json.loads(line) for line in lines]
    assert [row["id"] for row in rows] == [f"row-{n}" for n in range(8)]
    assert [row["target"] for row in rows][:4] == ["Now 0.", "a blue ring", "three", "Now 3."]
    assert all(isinstance(row["prediction"], str) for row in rows)
    assert found["answers_cut"] == sum(not row["finished"] for row in rows) > 0
    assert result.cost.samples_per_second == pytest.approx(8 / result.cost.seconds)


def test_a_recipe_that_was_laid_there_by_hand_names_no_run(
    benchmark: ConversationFile, vlm: TinyVlm, tmp_path: Path
) -> None:
    (tmp_path / "recipe.json").write_text('{"name": "by.hand"}')
    result = evaluate(vlm.model, vlm.processor, benchmark, folder=str(tmp_path), max_new_tokens=1)
    assert (result.provenance.recipe, result.provenance.training_seed) == ("", None)


def test_the_fingerprint_follows_pictures_too(tmp_path: Path) -> None:
    from isthmus.modeling import fingerprint

    file = write_data(tmp_path, 3)
    before = fingerprint.of_files(ConversationFile(file, tmp_path).files)
    assert before == fingerprint.of_files(ConversationFile(file, tmp_path).files)
    (tmp_path / "images" / "2-1.png").write_bytes((tmp_path / "images" / "0-0.png").read_bytes())
    assert before != fingerprint.of_files(ConversationFile(file, tmp_path).files)


def test_a_limit_without_room_is_refused(benchmark: ConversationFile, vlm: TinyVlm) -> None:
    with pytest.raises(ValueError, match="max_new_tokens is 0; expected room for 1"):
        evaluate(vlm.model, vlm.processor, benchmark, folder="", max_new_tokens=0)


def test_no_task_takes_the_name_of_another_number(tmp_path: Path) -> None:
    file = write_data(tmp_path, 4)
    lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    tasks = ("interval", "stderr", "count", "count_interval")
    rows = [{**line, "task": task} for line, task in zip(lines, tasks, strict=True)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    texts = ["Now 0.", "?", "?", "?"]
    answers = {f"row-{n}": Answer(id="", text=text) for n, text in enumerate(texts)}
    scores = ConversationFile(file, tmp_path).score(answers)
    found = results.Result(
        benchmark="toy",
        headline="exact_match",
        metrics=scores.metrics,
        rows=scores.rows,
        provenance=results.Provenance(model="m"),
        cost=results.Cost(seconds=1.0, samples_per_second=4.0, peak_memory_gb=0.5),
    )
    assert len(found.metrics) == 5
    assert len(found.flat()) == 2 * 5
    assert len(found.to_dict()["results"]["toy"]) == 1 + 2 * 5
    assert found.flat()["exact_match"] == 0.25
    assert found.flat()["interval_exact_match"] == 1.0
    assert len(found.flat()["exact_match_interval"]) == 2


def test_true_boxes_come_from_meta_in_pixels(tmp_path: Path) -> None:
    row = scored(asked(tmp_path, "[[00,00,09,09]]", boxes=[[10, 6, 20, 12.5]]), "none")
    assert row.boxes == ((10.0, 6.0, 20.0, 12.5),)
    assert row.predicted_boxes == ()


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("here: [[25,00,49,49]].", (10.2, 0.12, 19.8, 11.88)),
        ("[[250,000,499,499]]", (10.02, 0.012, 19.98, 11.988)),
    ],
)
def test_boxes_are_read_out_of_truth_and_answer(
    tmp_path: Path, text: str, box: tuple[float, ...]
) -> None:
    assert scored(asked(tmp_path, text), "no").boxes == (pytest.approx(box),)
    assert scored(asked(tmp_path), text).predicted_boxes == (pytest.approx(box),)


@pytest.mark.parametrize(
    "text", ["[10,20,30,40]", "[[0.1,0.2,0.3,0.4]]", "[[1,2,3,4]]", "[[1000,10,20,30]]", "10,20"]
)
def test_what_others_write_is_not_guessed_at(tmp_path: Path, text: str) -> None:
    row = scored(asked(tmp_path, text), text)
    assert row.boxes == row.predicted_boxes == ()


@pytest.mark.parametrize("images", [0, 2])
def test_a_box_needs_one_picture_to_lie_in(tmp_path: Path, images: int) -> None:
    benchmark = asked(tmp_path, "[[25,00,49,49]]", images=images, boxes=[[1, 2, 3, 4]])
    row = scored(benchmark, "[[25,00,49,49]]")
    assert row.boxes == row.predicted_boxes == ()


def test_boxes_lie_in_the_picture_as_it_is_seen(tmp_path: Path) -> None:
    benchmark = asked(tmp_path)
    turned = Image.Exif()
    turned[0x0112] = 6
    tiny_image(width=24, height=40).save(tmp_path / "0.png", exif=turned)
    row = scored(benchmark, "[[25,00,49,49]]")
    assert row.predicted_boxes == (pytest.approx((10.2, 0.12, 19.8, 11.88)),)
