"""Images found by texts and texts by images: scores, ranks, and a file from the command line."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from isthmus.cli import main
from isthmus.data.sample import ImagePart, Message, Sample, Text
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


def test_a_file_from_the_command_line(
    samples: list[Sample], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, file = tiny_alignment(), write(samples, tmp_path)
    folder = tmp_path / "model"
    model.save_pretrained(folder)
    alignment_processor(model).save_pretrained(folder)

    def run(kind: str, *more: str) -> tuple[int, str]:
        words = ["eval", str(folder), "--data", str(file), "--output", str(tmp_path / kind)]
        code = main([*words, *(["--benchmark", kind] if kind != "usual" else []), *more])
        return code, "".join(capsys.readouterr())

    code, said = run("usual")
    assert code == 0
    assert "text_recall_at_1 " in said
    assert json.loads((tmp_path / "usual/results.json").read_text())["headline"] == "recall_at_1"
    assert (tmp_path / "usual/report.html").exists()
    code, said = run("matching")
    assert code == 0
    assert "match_probability" in said
    code, said = run("conversation_file")
    assert code == 0
    assert "exact_match" in said
    code, said = run("features")
    assert code == 0
    vectors = load_file(tmp_path / "features/features.safetensors")
    names = json.loads((tmp_path / "features/features.json").read_text())
    assert vectors["images"].shape == (NUM, 3, 8)
    assert names["images"] == [f"images/{n}.png" for n in range(NUM)]
    assert len(names["texts"]) == len(vectors["texts"]) == NUM + 1
    code, said = run("usual", "--blind")
    assert code == 2
    assert "without images there is nothing to measure" in said
    code, said = run("microworld")
    assert code == 2
