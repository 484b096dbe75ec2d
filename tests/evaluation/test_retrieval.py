"""Images found by texts and texts by images: scores, ranks, and a file from the command line."""

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from isthmus.cli import main
from isthmus.data.sample import ImagePart, Message, Sample, Text
from isthmus.evaluation import pairs_runner
from isthmus.evaluation.pairs_runner import (
    PairFile,
    PairTask,
    evaluate_matching,
    evaluate_retrieval,
)
from isthmus.evaluation.retrieval import extract_features, match_pairs, rerank
from isthmus.modeling.alignment import Texts
from tests.tiny import tiny_image
from tests.tiny_alignment import WORDS, alignment_processor, tiny_alignment

NUM = 7


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    """Images with a caption each; the first has a second one."""
    made = []
    for number in range(NUM):
        path = tmp_path / f"images/{number}.png"
        path.parent.mkdir(exist_ok=True)
        tiny_image(seed=number).save(path)
        turns = [Message("user", (ImagePart(),))]
        turns.append(Message("assistant", (Text(f"a {WORDS[number + 1]} star"),)))
        if number == 0:
            turns += [
                Message("user", (Text("Again."),)),
                Message("assistant", (Text("a star under a circle"),)),
            ]
        made.append(Sample(id=f"s{number}", messages=tuple(turns), images=(path,)))
    return made


def write(samples: list[Sample], folder: Path) -> Path:
    rows = [
        {
            "id": sample.id,
            "images": [f"images/{sample.images[0].name}"],
            "messages": [turn.to_chat() for turn in sample.messages],
        }
        for sample in samples
    ]
    file = folder / "captions.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_pairs_in_groups_equal_pairs_one_by_one(samples: list[Sample]) -> None:
    model = tiny_alignment()
    processor, file = alignment_processor(model), PairFile(samples)
    pairs = torch.tensor([[3, 1], [0, 2], [3, 5], [0, 0], [6, 4], [3, 0]])
    found = match_pairs(
        model, processor, images=file.images, texts=file.texts, pairs=pairs, batch_size=2
    )
    for (image, text), logits in zip(pairs.tolist(), found, strict=True):
        pixels = processor(images=samples[image].images[0] and tiny_image(seed=image))
        given = Texts(**processor.texts([file.texts[text]]))
        with torch.no_grad():
            alone = model.match(model.see(model.encode_images(pixels["pixel_values"])), given)
        torch.testing.assert_close(logits, alone[0], atol=1e-5, rtol=1e-5)


def test_features_do_not_depend_on_the_batch(samples: list[Sample]) -> None:
    model = tiny_alignment()
    processor, file = alignment_processor(model), PairFile(samples)
    one, many = (
        extract_features(
            model, processor, images=file.images, texts=file.texts, batch_size=batch_size
        )
        for batch_size in (1, 32)
    )
    torch.testing.assert_close(one.images, many.images, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(one.texts, many.texts, atol=1e-5, rtol=1e-5)
    expected = torch.einsum("iqd,td->itq", one.images, one.texts).amax(-1)
    torch.testing.assert_close(one.similarities(), expected)


@pytest.mark.parametrize("top", [1, 3, 50])
def test_candidates_come_first_in_the_order_of_their_scores(top: int) -> None:
    torch.manual_seed(0)
    similarities, logits = torch.rand(6, 9) * 2 - 1, torch.randn(6, 9) * 5

    def match(pairs: torch.Tensor) -> torch.Tensor:
        positive = logits[pairs[:, 0], pairs[:, 1]]
        return torch.stack([torch.zeros_like(positive), positive], dim=1)

    by_image, by_text = rerank(similarities, match, top=top)
    for found, alike, added in (
        (by_image, similarities, logits),
        (by_text.T, similarities.T, logits.T),
    ):
        for row, before, extra in zip(found, alike, added, strict=True):
            nearest = before.argsort(descending=True)
            chosen, rest = nearest[:top], nearest[top:]
            expected = [*chosen[(before + extra)[chosen].argsort(descending=True)], *rest]
            assert row.argsort(descending=True).tolist() == [int(n) for n in expected]


def test_an_image_of_several_captions_finds_any_of_them(samples: list[Sample]) -> None:
    file = PairFile([*samples, replace(samples[1], id="again")])
    assert len(file.images) == NUM
    assert len(file.texts) == NUM + 1
    assert file.truth.sum(dim=1).tolist() == [2, 1, 1, 1, 1, 1, 1]
    assert file.truth.sum(dim=0).tolist() == [1] * (NUM + 1)


def test_ranks_count_what_is_as_near_as_before() -> None:
    from isthmus.evaluation.pairs_runner import _ranks

    truth = torch.eye(3).bool()
    scores = torch.tensor([[1.0, 0.0, 0.5], [0.2, 0.2, 0.2], [0.9, 0.1, 0.3]])
    assert _ranks(truth, scores) == [0, 2, 1]
    truth[2, 0] = True
    assert _ranks(truth, scores) == [0, 2, 0]


def test_recall_is_counted_both_ways(samples: list[Sample], tmp_path: Path) -> None:
    model, file = tiny_alignment(), write(samples, tmp_path)
    task = PairTask(
        model=model,
        processor=alignment_processor(model),
        samples=samples,
        file=file,
        folder="nowhere",
    )
    result = evaluate_retrieval(task, top=3)
    assert result.metrics["text_recall_at_1"].count == NUM
    assert result.metrics["image_recall_at_1"].count == NUM + 1
    assert result.metrics["recall_at_1"].count == 2 * NUM + 1
    assert result.metrics["recall_at_10"].value == 1.0  # of seven images and eight texts
    both = {name: score.value for name, score in result.metrics.items()}
    own = both["text_recall_at_5"] * NUM + both["image_recall_at_5"] * (NUM + 1)
    assert both["recall_at_5"] == pytest.approx(own / (2 * NUM + 1))
    plain = evaluate_retrieval(task, top=0)
    assert plain.metrics["recall_at_5"].value == both["recall_at_5_itc"]


@pytest.mark.parametrize("num_kept", [NUM, 3, 0])
def test_the_tower_looks_again_only_where_there_is_no_room(
    num_kept: int, samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, file = tiny_alignment(), write(samples, tmp_path)
    task = PairTask(
        model=model,
        processor=alignment_processor(model),
        samples=samples,
        file=file,
        folder="nowhere",
        batch_size=2,
    )
    expected = [evaluate_retrieval(task, top=3).rows, evaluate_matching(task).rows]
    looked_at, encode_images = [], model.encode_images

    def seen(pixels: torch.Tensor) -> object:
        looked_at.append(len(pixels))
        return encode_images(pixels)

    monkeypatch.setattr(model, "encode_images", seen)
    size = encode_images(torch.zeros(1, 3, 32, 32, dtype=torch.uint8)).states.nbytes
    monkeypatch.setattr(pairs_runner, "ROOM", num_kept * size)
    for measure, rows in zip(
        (partial(evaluate_retrieval, top=3), evaluate_matching), expected, strict=True
    ):
        looked_at.clear()
        found = measure(task).rows
        assert sum(looked_at) == NUM + NUM - num_kept
        assert [row.prediction for row in found] == [row.prediction for row in rows]
    looked_at.clear()
    evaluate_retrieval(task, top=0)
    assert sum(looked_at) == NUM


def test_every_pair_gets_its_scores(samples: list[Sample], tmp_path: Path) -> None:
    model, file = tiny_alignment(), write(samples, tmp_path)
    processor, given = alignment_processor(model), PairFile(samples)
    result = evaluate_matching(
        PairTask(model=model, processor=processor, samples=samples, file=file, folder="nowhere")
    )
    pairs = given.truth.nonzero()
    logits = match_pairs(model, processor, images=given.images, texts=given.texts, pairs=pairs)
    expected = logits.softmax(1)[:, 1].tolist()
    assert [row.scores["match_probability"] for row in result.rows] == pytest.approx(expected)
    assert [row.question for row in result.rows] == [given.texts[t] for _, t in pairs.tolist()]


@dataclass(frozen=True)
class Commanded:
    """A model and a file on disk."""

    folder: Path

    def __call__(self, *words: str) -> int:
        given = ["--data", str(self.folder / "captions.jsonl"), "--output", str(self.output)]
        return main(["eval", str(self.folder / "model"), *given, *words])

    @property
    def output(self) -> Path:
        return self.folder / "out"

    @property
    def results(self) -> dict[str, Any]:
        return json.loads((self.output / "results.json").read_text())


@pytest.fixture
def command(samples: list[Sample], tmp_path: Path) -> Commanded:
    long = Message("assistant", (Text("a star " * 9),))
    write([*samples[:-1], replace(samples[-1], messages=(samples[-1].messages[0], long))], tmp_path)
    model = tiny_alignment()
    model.save_pretrained(tmp_path / "model")
    alignment_processor(model).save_pretrained(tmp_path / "model")
    return Commanded(tmp_path)


def test_retrieval_is_the_usual_measure(
    command: Commanded, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command() == 0
    said = capsys.readouterr().out
    assert "text_recall_at_1 " in said
    assert "1 texts are longer than the model reads" in said
    assert command.results["headline"] == "recall_at_1"
    assert command.results["texts_cut"] == 1
    assert "nearest 128" in command.results["metrics"]["recall_at_1"]["variant"]
    assert (command.output / "report.html").exists()


def test_the_number_of_candidates_can_be_chosen(command: Commanded) -> None:
    assert command("--top", "3") == 0
    assert "nearest 3" in command.results["metrics"]["recall_at_1"]["variant"]
    assert command("--top", "0") == 0
    assert command.results["metrics"]["recall_at_1"]["variant"] == "ITC similarity"
    assert command.results["recall_at_1"] == command.results["recall_at_1_itc"]


def test_pairs_are_matched(command: Commanded, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--benchmark", "matching") == 0
    assert "match_probability" in capsys.readouterr().out


def test_captions_are_written_with_beams(command: Commanded) -> None:
    predictions = []
    for num_beams in (1, 3):
        assert command("--benchmark", "conversation_file", "--num-beams", str(num_beams)) == 0
        assert command.results["headline"] == "exact_match"
        assert command.results["provenance"]["num_beams"] == num_beams
        lines = (command.output / "samples.jsonl").read_text().splitlines()
        predictions.append([json.loads(line)["prediction"] for line in lines])
    assert predictions[0] != predictions[1]


def test_vectors_are_written_to_files(
    command: Commanded, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("--benchmark", "features") == 0
    assert "1 texts are longer than the model reads" in capsys.readouterr().out
    vectors = load_file(command.output / "features.safetensors")
    names = json.loads((command.output / "features.json").read_text())
    assert vectors["images"].shape == (NUM, 3, 8)
    assert names["images"] == [f"images/{n}.png" for n in range(NUM)]
    assert len(names["texts"]) == len(vectors["texts"]) == NUM + 1


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--blind"], "without images there is nothing to measure"),
        (["--benchmark", "microworld"], "which the microworld does not score"),
        (["--benchmark", "retreival"], "did you mean 'retrieval'? (valid: retrieval, matching, "),
        (["--max-new-tokens", "5"], "--max-new-tokens 5 would be ignored: nothing of --benchmark "),
        (["--num-beams", "2"], "--num-beams 2 would be ignored"),
        (["--benchmark", "matching", "--top", "0"], "--top 0 would be ignored"),
        (["--benchmark", "matching", "--max-new-tokens", "5"], "--max-new-tokens 5 would be"),
        (["--benchmark", "features", "--top", "5"], "--top 5 would be ignored"),
        (["--benchmark", "features", "--num-beams", "2"], "--num-beams 2 would be ignored"),
        (["--benchmark", "features", "--seed", "2"], "--seed 2 would be ignored"),
        (["--benchmark", "conversation_file", "--top", "5"], "--top 5 would be ignored"),
        (["--batch-size", "0"], "batch_size is 0; expected 1 or more"),
        (["--top", "-1"], "top is -1; expected 0 or more"),
    ],
)
def test_a_wrong_setting_is_one_line(
    words: list[str], reason: str, command: Commanded, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(*words) == 2
    said = capsys.readouterr().err
    assert reason in said
    assert said.count("\n") == 1
    assert not (command.output / "results.json").exists()
