"""CapFilt: what it keeps, and that an interrupted run ends with the same file."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoTokenizer

from isthmus.cli import main
from isthmus.data import sources
from isthmus.data.sample import Sample
from isthmus.evaluation import capfilt
from isthmus.evaluation.capfilt import Settings, filter_captions
from isthmus.evaluation.judges import Matching, Similarity, TwoTowers
from isthmus.evaluation.retrieval import match_pairs
from tests.tiny import save_vision, tiny_image
from tests.tiny_alignment import WORDS, alignment_processor, save_two_towers, tiny_alignment

NUM = 5
SETTINGS = Settings(candidates=3, keep=2, chunk=2, max_new_tokens=6)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Images with two captions each."""
    (tmp_path / "images").mkdir()
    rows = []
    for number in range(NUM):
        tiny_image(seed=number).save(tmp_path / f"images/{number}.png")
        turns: list[dict[str, Any]] = [{"role": "user", "content": [{"type": "image"}]}]
        turns.append({"role": "assistant", "content": f"a {WORDS[number + 1]} star"})
        turns.append({"role": "user", "content": "Another."})
        turns.append({"role": "assistant", "content": f"{WORDS[-1]} a {WORDS[number]}"})
        rows.append({"id": str(number), "images": [f"images/{number}.png"], "messages": turns})
    file = tmp_path / "captions.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def run(data: Path, output: Path, settings: Settings = SETTINGS, **changes: Any) -> dict[str, int]:
    model = tiny_alignment(seed=1)
    captioner = (model, alignment_processor(model))
    samples: list[Sample] = list(sources.read(data, data.parent))
    given: dict[str, Any] = {
        "captioner": captioner,
        "judge": Matching(*captioner),
        "image_root": data.parent,
    }
    return filter_captions(samples, output, settings=settings, **given | changes)


def kept(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.read_text().splitlines()]


def test_the_best_of_each_image_stay_with_their_scores(data: Path, tmp_path: Path) -> None:
    counts = run(data, tmp_path / "out.jsonl")
    rows = kept(tmp_path / "out.jsonl")
    assert len(rows) == 2 * NUM == sum(counts.values())
    assert counts["generated"] == sum(r["meta"]["capfilt"]["source"] == "generated" for r in rows)
    model = tiny_alignment(seed=1)
    texts = [row["messages"][1]["content"] for row in rows]
    images = [data.parent / row["images"][0] for row in rows]
    logits = match_pairs(
        model,
        alignment_processor(model),
        images=images,
        texts=texts,
        pairs=torch.arange(len(rows))[:, None].expand(-1, 2),
    )
    found = [row["meta"]["capfilt"]["score"] for row in rows]
    assert found == pytest.approx((logits[:, 1] - logits[:, 0]).tolist(), abs=1e-4)
    for first, second in zip(found[::2], found[1::2], strict=True):
        assert first >= second
    again = list(sources.read(tmp_path / "out.jsonl", data.parent))  # it is a data file itself
    assert [sample.images[0] for sample in again] == images
    about = json.loads((tmp_path / "out.provenance.json").read_text())
    assert about["kept"] == counts
    assert about["settings"]["candidates"] == 3


def test_without_a_captioner_the_files_own_are_chosen_among(data: Path, tmp_path: Path) -> None:
    counts = run(data, tmp_path / "out.jsonl", Settings(keep=1), captioner=None)
    assert counts == {"original": NUM, "generated": 0}
    every = run(data, tmp_path / "all.jsonl", Settings(keep=9), captioner=None)
    assert every["original"] == 2 * NUM
    scores = [row["meta"]["capfilt"]["score"] for row in kept(tmp_path / "all.jsonl")]
    best = [max(pair) for pair in zip(scores[::2], scores[1::2], strict=True)]
    assert [row["meta"]["capfilt"]["score"] for row in kept(tmp_path / "out.jsonl")] == best


def test_an_interrupted_run_ends_with_the_same_file(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(data, tmp_path / "whole.jsonl")
    best = capfilt._best

    def dying(paths: Any, given: Any, number: int, *more: Any) -> Any:
        if number == 2:
            raise KeyboardInterrupt
        return best(paths, given, number, *more)

    with monkeypatch.context() as patched:
        patched.setattr(capfilt, "_best", dying)
        with pytest.raises(KeyboardInterrupt):
            run(data, tmp_path / "killed.jsonl")
    with (tmp_path / "killed.jsonl").open("a") as file:
        file.write('{"half a li')
    with pytest.raises(ValueError, match="was begun with other settings"):
        run(data, tmp_path / "killed.jsonl", Settings(candidates=3, keep=1, chunk=2))
    run(data, tmp_path / "killed.jsonl")
    assert (tmp_path / "killed.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert not (tmp_path / "killed.progress.json").exists()
    with pytest.raises(ValueError, match="is there already"):
        run(data, tmp_path / "killed.jsonl")


def test_similarity_judges_as_a_contrastive_tower_would(data: Path, tmp_path: Path) -> None:
    model = tiny_alignment(seed=1)
    judge = Similarity(model, alignment_processor(model))
    run(data, tmp_path / "out.jsonl", Settings(candidates=0, keep=2), judge=judge)
    scores = [row["meta"]["capfilt"]["score"] for row in kept(tmp_path / "out.jsonl")]
    assert all(-1 <= score <= 1 for score in scores)
    assert scores[::2] >= scores[1::2]


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_two_towers_judge_by_their_own_vectors(kind: str, data: Path, tmp_path: Path) -> None:
    model, texts = save_two_towers(tmp_path / "towers", kind), ["a red star", "star"]
    judge = TwoTowers.load(str(tmp_path / "towers"))
    images = sorted((data.parent / "images").iterdir())[:3]
    pairs = torch.tensor([[0, 0], [2, 1], [1, 0]])
    stock = AutoImageProcessor.from_pretrained(tmp_path / "towers", backend="pil")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "towers")
    padding = {"padding": "max_length", "max_length": 9} if kind == "siglip" else {"padding": True}
    with torch.no_grad():
        whole = model(
            **stock(images=[Image.open(path) for path in images], return_tensors="pt"),
            **tokenizer(texts, return_tensors="pt", **padding),
        )
    # The library's own similarities, less its temperature.
    cosines = whole.image_embeds @ whole.text_embeds.T
    expected = [cosines[image, text].item() for image, text in pairs.tolist()]
    assert judge.scores(images, texts, pairs) == pytest.approx(expected, abs=1e-5)


def test_what_has_no_two_towers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is a SiglipVisionModel; expected a model with an image"):
        TwoTowers.load(save_vision(tmp_path / "vision", "siglip_vision_model"))


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match=r"capfilt\.keep is 0; expected 1 or more"):
        Settings(keep=0)


def test_from_the_command_line(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, model = tmp_path / "model", tiny_alignment(seed=1)
    model.save_pretrained(folder)
    alignment_processor(model).save_pretrained(folder)
    words = ["capfilt", str(folder), "--data", str(data), "--output", str(tmp_path / "out.jsonl")]
    words += ["--candidates", "2", "--keep", "1", "--max-new-tokens", "5"]
    assert main(words) == 0
    assert f"{NUM} captions in" in capsys.readouterr().out
    assert len(kept(tmp_path / "out.jsonl")) == NUM
    assert main(words) == 2
    assert "is there already" in capsys.readouterr().err
    save_two_towers(tmp_path / "towers", "clip")
    words[1], words[5] = str(tmp_path / "towers"), str(tmp_path / "towers.jsonl")
    assert main(words) == 2
    assert "writes no captions; name a --captioner" in capsys.readouterr().err
    assert main([*words, "--captioner", str(folder)]) == 0
    assert json.loads((tmp_path / "towers.provenance.json").read_text())["judge"]["by"] == (
        "two towers"
    )
