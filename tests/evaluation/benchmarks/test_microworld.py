import json
from pathlib import Path
from typing import Any

import pytest

from isthmus.evaluation.benchmark import SLACK
from isthmus.evaluation.benchmarks.microworld import VARIANTS, Microworld
from isthmus.evaluation.requests import Answer, Choose, Generate, Locate
from isthmus.microworld.export import export
from tests.tiny import tiny_image

BOX, ELSEWHERE = [10, 10, 30, 20], "[[00,00,05,05]]"


def row(task: str, answer: str, *, image: str | None = "a.png", **meta: Any) -> dict[str, Any]:
    content = [*([{"type": "image"}] if image else []), {"type": "text", "text": f"{task}?"}]
    return {
        "id": task,
        "task": task,
        "images": [image] if image else [],
        "messages": [
            {"role": "user", "content": content},
            {"role": "assistant", "content": answer},
        ],
        "meta": meta,
    }


ROWS = [
    row("colour", "red"),
    row("count", "2"),
    row("multiple_choice", "B", choices=["A", "B", "C", "D"]),
    row("reading", "cat"),
    row("region", "red circle"),
    row("referring", "[[25,41,75,83]]", boxes=[BOX]),
    row("caption", "red circle; blue star."),
    row("grounded_caption", "red circle [[25,41,75,83]].", boxes=[BOX]),
    row("arithmetic", "7", image=None),
]


def write(folder: Path, rows: list[dict[str, Any]], name: str = "messages.jsonl") -> Path:
    tiny_image(width=40, height=24).save(folder / "a.png")
    file = folder / name
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return file


def answers(**given: Answer | str) -> dict[str, Answer]:
    return {
        task: one if isinstance(one, Answer) else Answer(id=task, text=one)
        for task, one in given.items()
    }


RIGHT = answers(
    colour="Red",
    count="2.",
    multiple_choice="B",
    reading="cat",
    region="red circle",
    referring=Answer(id="", text="", boxes=((10.0, 10.0, 30.0, 20.0),)),
    caption="blue star; red circle",
    grounded_caption=Answer(
        id="", text="red circle [[25,41,75,83]]", boxes=((11.0, 10.0, 30.0, 21.0),)
    ),
    arithmetic="7",
)


def test_each_task_is_asked_in_its_own_way(tmp_path: Path) -> None:
    requests = {r.id: r for r in Microworld(write(tmp_path, ROWS), tmp_path).requests(len)}
    assert isinstance(requests["colour"], Generate)
    assert isinstance(requests["multiple_choice"], Choose)
    assert requests["multiple_choice"].choices == ("A", "B", "C", "D")
    for task in ("referring", "grounded_caption"):
        assert isinstance(requests[task], Locate)
        assert requests[task].size == (40, 24)


def test_each_task_has_room_for_its_own_longest_answer(tmp_path: Path) -> None:
    rows = [*ROWS, {**row("grounded_caption", "x" * 200, boxes=[BOX]), "id": "long"}]
    requests = {r.id: r for r in Microworld(write(tmp_path, rows), tmp_path).requests(len)}
    limits = {task: requests[task].max_new_tokens for task in ("colour", "grounded_caption")}
    assert limits == {"colour": 3 + SLACK, "grounded_caption": 200 + SLACK}
    assert requests["long"].max_new_tokens == 200 + SLACK


def test_right_answers_get_full_marks_in_every_metric(tmp_path: Path) -> None:
    scores = Microworld(write(tmp_path, ROWS), tmp_path).score(RIGHT)
    assert {name: score.value for name, score in scores.metrics.items()} == dict.fromkeys(
        [
            "vqa_accuracy",
            "accuracy_colour",
            "accuracy_count",
            "accuracy_multiple_choice",
            "reading_accuracy",
            "region_accuracy",
            "box_accuracy",
            "caption_facts",
            "grounded_caption_facts",
            "grounded_caption_boxes",
            "phrase_box_f1",
            "text_accuracy",
            "accuracy_arithmetic",
        ],
        1.0,
    )
    assert all(scores.metrics[name].variant == VARIANTS[name] for name in scores.metrics)


@pytest.mark.parametrize(
    ("task", "metric", "pooled"),
    [
        ("colour", "accuracy_colour", True),
        ("multiple_choice", "accuracy_multiple_choice", True),
        ("reading", "reading_accuracy", False),
        ("region", "region_accuracy", False),
        ("referring", "box_accuracy", False),
        ("caption", "caption_facts", False),
        ("arithmetic", "accuracy_arithmetic", False),
    ],
)
def test_a_wrong_answer_costs_its_own_metric(
    tmp_path: Path, task: str, metric: str, pooled: bool
) -> None:
    given = {**RIGHT, task: Answer(id=task, text="A")}
    metrics = Microworld(write(tmp_path, ROWS), tmp_path).score(given).metrics
    assert metrics[metric].value == 0.0
    assert metrics["vqa_accuracy"].value == (pytest.approx(2 / 3) if pooled else 1.0)
    assert metrics["vqa_accuracy"].count == 3


@pytest.mark.parametrize(
    ("short", "chat", "right", "as_asked"),
    [
        ("red", "The answer is red.", 1.0, 1.0),
        ("blue", "The answer is blue.", 0.0, 1.0),
        ("The answer is red.", "red", 0.0, 0.0),
        ("red", "red", 0.5, 0.5),
    ],
)
def test_an_answer_is_to_be_right_and_in_its_style(
    tmp_path: Path, short: str, chat: str, right: float, as_asked: float
) -> None:
    rows = [row("short_answer", "red"), row("chat_answer", "The answer is red.")]
    given = answers(short_answer=short, chat_answer=chat)
    metrics = Microworld(write(tmp_path, rows), tmp_path).score(given).metrics
    single = [metrics[f"accuracy_{each['task']}"].value for each in rows]
    assert metrics["styled_accuracy"].value == right == sum(single) / 2
    assert single[0] == (short == "red")
    assert metrics["answer_style"].value == as_asked


def test_unreadable_boxes_and_cut_answers_are_counted(tmp_path: Path) -> None:
    given = {
        **RIGHT,
        "referring": Answer(id="", text="[[1,2]]", unread=("1,2",)),
        "colour": Answer(id="", text="red", finished=False),
    }
    metrics = Microworld(write(tmp_path, ROWS), tmp_path).score(given).metrics
    assert metrics["box_accuracy"].parse_failure_rate == 1.0
    assert metrics["vqa_accuracy"].parse_failure_rate == pytest.approx(1 / 3)
    assert metrics["accuracy_count"].parse_failure_rate == 0.0


def test_the_majority_baseline_is_the_usual_training_answer_of_each_task(tmp_path: Path) -> None:
    train = [
        *(row("colour", answer) for answer in ("blue", "red", "red", "blue", "red")),
        row("count", "3"),
        row("multiple_choice", "B"),
        *(
            row("referring", text)
            for text in ("[[20,41,75,83]]", "[[25,41,75,83]]", "[[30,41,70,99]]")
        ),
    ]
    file = write(tmp_path, train, "train.jsonl")
    benchmark = Microworld(write(tmp_path, ROWS), tmp_path, train_file=file)
    majority = benchmark.baselines()["majority"]
    assert {task: majority[task].text for task in ("colour", "count", "multiple_choice")} == {
        "colour": "red",
        "count": "3",
        "multiple_choice": "B",
    }
    assert majority["referring"].text == "[[25,41,75,83]]"
    metrics = benchmark.score(majority).metrics
    assert metrics["vqa_accuracy"].value == pytest.approx(2 / 3)
    assert metrics["box_accuracy"].value == 1.0
    assert metrics["reading_accuracy"].value == 0.0


def test_without_training_answers_there_is_no_baseline(tmp_path: Path) -> None:
    assert Microworld(write(tmp_path, ROWS), tmp_path).baselines() == {}


def test_exported_scenes_are_scored_with_their_own_truth(tmp_path: Path) -> None:
    export(tmp_path / "test", split="test", num=120, seed=0)
    export(tmp_path / "train", split="train", num=60, seed=0)
    benchmark = Microworld(
        tmp_path / "test" / "messages.jsonl",
        tmp_path / "test",
        train_file=tmp_path / "train" / "messages.jsonl",
    )
    truth = {}
    for line in (tmp_path / "test" / "messages.jsonl").read_text("utf-8").splitlines():
        sample = json.loads(line)
        text = sample["messages"][-1]["content"][0]["text"]
        boxes = tuple(tuple(map(float, box)) for box in sample["meta"]["boxes"])
        truth[sample["id"]] = Answer(id=sample["id"], text=text, boxes=boxes)
    assert {score.value for score in benchmark.score(truth).metrics.values()} == {1.0}
    usual = benchmark.score(benchmark.baselines()["majority"]).metrics
    assert 0.1 < usual["vqa_accuracy"].value < 0.6


def test_what_the_microworld_does_not_score_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'poetry' has the task 'poetry'.*conversation_file"):
        Microworld(write(tmp_path, [row("poetry", "rose")]), tmp_path)
    with pytest.raises(ValueError, match=r"'referring' .* has 0 boxes"):
        Microworld(write(tmp_path, [row("referring", ELSEWHERE)]), tmp_path)
