"""What an answer's truth holds tells how it is scored: boxes, words with boxes, or words."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from isthmus.data.sample import ImagePart, Sample
from isthmus.data.sources import read
from isthmus.evaluation.benchmarks import of_kind
from isthmus.evaluation.benchmarks.grounding import Grounding
from isthmus.evaluation.requests import Answer
from tests.tiny import tiny_image

REFERRING, CAPTION, REGION = "Where is it?", "Describe it with boxes.", "What is [[00,00,50,99]]?"


def asked(folder: Path, *rows: tuple[str, str, str], boxes: str = "isthmus") -> Grounding:
    """A file of conversations about a picture 40 wide and 24 high: task, question, answer."""
    tiny_image(width=40, height=24).save(folder / "0.png")
    lines = []
    for number, (task, question, answer) in enumerate(rows):
        content = [{"type": "image"}, {"type": "text", "text": question}]
        messages = [
            {"role": "user", "content": content},
            {"role": "assistant", "content": answer},
        ]
        row = {"id": str(number), "task": task, "images": ["0.png"], "messages": messages}
        lines.append(json.dumps(row) + "\n")
    (folder / "asked.jsonl").write_text("".join(lines), "utf-8")
    return Grounding(folder / "asked.jsonl", folder, boxes=boxes)


def answered(benchmark: Grounding, *texts: str) -> dict[str, float]:
    answers = {str(n): Answer(id=str(n), text=text) for n, text in enumerate(texts)}
    return {name: score.value for name, score in benchmark.score(answers).metrics.items()}


def test_the_truth_tells_the_metric(tmp_path: Path) -> None:
    rows = [
        ("rec", REFERRING, "[[00,00,49,99]]"),
        ("caption", CAPTION, "A dog [[00,00,49,99]] and a cat [[50,00,99,99]]."),
        ("region", REGION, "a dog"),
    ]
    benchmark = asked(tmp_path, *rows)
    assert benchmark.headline == "box_accuracy"
    assert [request.prompt.question for request in benchmark.requests(len)] == [r[1] for r in rows]
    truths = [row[2] for row in rows]
    perfect = answered(benchmark, *truths)
    assert set(perfect.values()) == {1.0}
    assert {name for name in perfect if name.startswith("rec_")} == {"rec_box_accuracy"}
    assert {name for name in perfect if name.startswith("region_")} == {"region_exact_match"}

    wrong = answered(benchmark, "[[50,00,99,99]]", "A dog [[00,00,49,99]] and a rat.", "A Dog.")
    assert wrong["rec_box_accuracy"] == 0
    assert wrong["caption_box_accuracy"] == 1 / 2
    assert wrong["caption_phrase_box_f1"] == pytest.approx(2 / 3)
    assert wrong["box_accuracy"] == 1 / 4
    assert wrong["exact_match"] == 1


def test_boxes_are_read_as_they_are_written(tmp_path: Path) -> None:
    of_cogvlm = asked(tmp_path, ("", REFERRING, "[[000,000,500,999]]"), boxes="cogvlm")
    assert answered(of_cogvlm, "[[000,000,510,999]]") == {"box_accuracy": 1.0}
    assert answered(of_cogvlm, "[[00,00,51,99]]") == {"box_accuracy": 0.0}
    of_shikra = asked(tmp_path, ("", REFERRING, "it is [0.000,0.000,0.500,1.000]"), boxes="shikra")
    assert answered(of_shikra, "there: [0.0,0.0,0.5,1.0]") == {"box_accuracy": 1.0}


def test_words_alone_are_the_headline_where_no_truth_has_a_box(tmp_path: Path) -> None:
    assert asked(tmp_path, ("", REGION, "a dog")).headline == "exact_match"


def test_boxes_that_cannot_be_read_or_placed_are_refused(tmp_path: Path) -> None:
    of_cogvlm = ("", REFERRING, "[[000,000,500,999]]")
    with pytest.raises(ValueError, match=r"0: .* 1 boxes that are not written as isthmus writes"):
        asked(tmp_path, of_cogvlm)
    with pytest.raises(ValueError, match="resized"):
        asked(tmp_path, of_cogvlm, boxes="qwen2_5_vl")
    where = asked(tmp_path, ("", REFERRING, "[[00,00,49,99]]"))
    (sample,) = read(tmp_path / "asked.jsonl", tmp_path)
    still = shown_twice(sample, sample.images[0])
    again = Grounding(where.files[0], tmp_path, samples=[still])
    assert answered(again, "[[00,00,49,99]]") == {"box_accuracy": 1.0}
    tiny_image(seed=1).save(tmp_path / "1.png")
    with pytest.raises(ValueError, match="and 2 pictures"):
        Grounding(where.files[0], tmp_path, samples=[shown_twice(sample, tmp_path / "1.png")])


def shown_twice(sample: Sample, other: Path) -> Sample:
    question, answer = sample.messages
    asked = replace(question, parts=(ImagePart(), *question.parts))
    return replace(sample, messages=(asked, answer), images=(*sample.images, other))


def test_what_cannot_be_read_of_an_answer_counts_as_such(tmp_path: Path) -> None:
    benchmark = asked(tmp_path, ("", REFERRING, "[[00,00,49,99]]"))
    (row,) = benchmark.score({"0": Answer(id="0", text="[[00,00,49,99;]] [[7]]")}).rows
    assert not row.parsed


def test_it_is_found_by_its_name_and_refuses_what_it_cannot_read(tmp_path: Path) -> None:
    assert of_kind("grounding") is Grounding
    with pytest.raises(ValueError, match="unknown box convention 'cogvm'; did you mean 'cogvlm'"):
        asked(tmp_path, ("", REFERRING, "[[00,00,49,99]]"), boxes="cogvm")
    (tmp_path / "none.jsonl").write_text("")
    with pytest.raises(ValueError, match="no conversation"):
        Grounding(tmp_path / "none.jsonl", tmp_path, samples=[])
