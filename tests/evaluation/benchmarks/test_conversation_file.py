import json
from pathlib import Path

import pytest

from isthmus.evaluation import results
from isthmus.evaluation.benchmarks import of_kind
from isthmus.evaluation.benchmarks.conversation_file import ConversationFile
from isthmus.evaluation.requests import Answer, Generate
from isthmus.evaluation.runner import evaluate
from tests.evaluation.conftest import TinyVlm
from tests.tiny_data import write_data


@pytest.fixture
def benchmark(tmp_path: Path) -> ConversationFile:
    return ConversationFile(write_data(tmp_path, 8), tmp_path, max_new_tokens=5)


def test_it_is_found_by_the_name_of_its_file() -> None:
    assert of_kind("conversation_file") is ConversationFile
    with pytest.raises(ValueError, match="did you mean 'conversation_file'"):
        of_kind("conversation_files")


def test_it_asks_for_the_last_answer_of_each_conversation(benchmark: ConversationFile) -> None:
    requests = benchmark.requests()
    assert [request.id for request in requests] == [f"row-{n}" for n in range(8)]
    assert all(isinstance(r, Generate) and r.max_new_tokens == 5 for r in requests)
    assert requests[0].prompt.question == "And now?"
    assert requests[1].prompt.question == "What?"
    assert [len(r.prompt.images) for r in requests] == [1, 1, 2, 0, 1, 1, 2, 0]


def test_it_scores_exact_matches(benchmark: ConversationFile) -> None:
    texts = ["NOW 0", "a blue ring.", "4", "", "red", "blue ring", "Now 6.", "no"]
    answers = {f"row-{n}": Answer(id=f"row-{n}", text=text) for n, text in enumerate(texts)}
    scores = benchmark.score(answers)
    assert scores.metrics["exact_match"].value == 4 / 8
    assert scores.metrics["exact_match_noise"].count == 8
    assert scores.metrics["exact_match"].parse_failure_rate == 1 / 8
    assert [row.scores["exact_match"] for row in scores.rows] == [1, 1, 0, 0, 1, 0, 1, 0]


def test_the_files_that_scripts_rely_on(
    benchmark: ConversationFile, vlm: TinyVlm, tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    description = {"recipe": {}, "digest": "0123456789ab", "seed": 7}
    (tmp_path / "model" / "recipe.json").write_text(json.dumps(description))
    result = evaluate(
        vlm.model, vlm.processor, benchmark, folder=str(tmp_path / "model"), batch_size=3
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
    assert result.cost.samples_per_second == pytest.approx(8 / result.cost.seconds)


def test_the_fingerprint_follows_pictures_too(tmp_path: Path) -> None:
    from isthmus.evaluation import fingerprint

    file = write_data(tmp_path, 3)
    before = fingerprint.of_files(ConversationFile(file, tmp_path).files)
    assert before == fingerprint.of_files(ConversationFile(file, tmp_path).files)
    (tmp_path / "images" / "2-1.png").write_bytes((tmp_path / "images" / "0-0.png").read_bytes())
    assert before != fingerprint.of_files(ConversationFile(file, tmp_path).files)
