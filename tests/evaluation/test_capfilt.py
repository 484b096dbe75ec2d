"""CapFilt: what it keeps, and that an interrupted run ends with the same file."""

import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoTokenizer

from isthmus.data import sources
from isthmus.data.sample import Sample
from isthmus.evaluation import capfilt
from isthmus.evaluation.capfilt import Filtered, Settings, checked_writer, filter_captions
from isthmus.evaluation.judges import Matching, Similarity, TwoTowers
from isthmus.evaluation.retrieval import match_pairs
from tests.evaluation.tiny_captioners import NUM, answering, captioning, write_captioned
from tests.tiny import save_vision, tiny_image
from tests.tiny_alignment import (
    LENGTH,
    alignment_processor,
    save_two_towers,
    tiny_alignment,
)

SETTINGS = Settings(candidates=4, keep=2, chunk=2, max_new_tokens=6)
CHOICE = Settings(candidates=0, keep=2, chunk=2)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_captioned(tmp_path)


def run(data: Path, output: Path, settings: Settings = SETTINGS, **changes: Any) -> Filtered:
    model = captioning()
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
    assert len(rows) == 2 * NUM == counts.original + counts.generated
    sources_of = [row["meta"]["capfilt"]["source"] for row in rows]
    assert 0 < counts.generated == sources_of.count("generated") < 2 * NUM
    model = captioning()
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
    assert about["kept"] == {"original": counts.original, "generated": counts.generated}
    assert about["settings"]["candidates"] == 4
    assert about["captioner"]["by"] == "queries"


def test_a_row_keeps_what_the_file_says_of_it(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "out.jsonl", replace(SETTINGS, keep=9))
    rows = kept(tmp_path / "out.jsonl")
    assert len({row["id"] for row in rows}) == len(rows)
    for row in rows:
        number = row["images"][0].removeprefix("images/").removesuffix(".png")
        assert row["meta"]["url"] == f"web/{number}"
        assert row["task"] == "caption"
        source = row["meta"]["capfilt"]["source"]
        own = {f"row-{number}": 0, f"row-{number}#2": 1}
        assert (row["id"] in own) == (source == "original")
        assert row["id"].startswith(f"row-{number}")
        if row["id"] in own:
            asked = json.loads(data.read_text().splitlines()[int(number)])["messages"]
            answer = asked[1 + 2 * own[row["id"]]]["content"]
            assert row["messages"][1]["content"] == answer


def test_captions_without_an_end_are_left_out_and_counted(data: Path, tmp_path: Path) -> None:
    every = replace(SETTINGS, keep=99, candidates=8)
    counts = run(data, tmp_path / "out.jsonl", every)
    assert 0 < counts.cut < 8 * NUM
    assert json.loads((tmp_path / "out.provenance.json").read_text())["cut"] == counts.cut
    assert counts.generated <= 8 * NUM - counts.cut  # of equal ones one stays
    texts = [
        row["messages"][1]["content"].split()
        for row in kept(tmp_path / "out.jsonl")
        if row["meta"]["capfilt"]["source"] == "generated"
    ]
    # The end is a token as well; one that is all of a caption leaves nothing to say.
    assert max(map(len, texts)) <= SETTINGS.max_new_tokens - 1
    assert min(map(len, texts)) >= 1
    shorter = run(data, tmp_path / "short.jsonl", replace(every, max_new_tokens=2))
    assert shorter.cut > counts.cut


def test_without_a_captioner_the_files_own_are_chosen_among(data: Path, tmp_path: Path) -> None:
    counts = run(data, tmp_path / "out.jsonl", replace(CHOICE, keep=1), captioner=None)
    assert counts == Filtered(original=NUM, generated=0, cut=0)
    every = run(data, tmp_path / "all.jsonl", replace(CHOICE, keep=9), captioner=None)
    assert every.original == 2 * NUM
    scores = [row["meta"]["capfilt"]["score"] for row in kept(tmp_path / "all.jsonl")]
    best = [max(pair) for pair in zip(scores[::2], scores[1::2], strict=True)]
    assert [row["meta"]["capfilt"]["score"] for row in kept(tmp_path / "out.jsonl")] == best


def test_any_fusion_can_write(data: Path, tmp_path: Path) -> None:
    captioner = answering(tmp_path, fusion="gated_cross_attention")
    assert run(data, tmp_path / "out.jsonl", captioner=captioner).generated > 0


@pytest.mark.parametrize("kind", ["queries", "llama", "t5"])
def test_an_interrupted_run_ends_with_the_same_file(
    kind: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {}
    if kind != "queries":
        given = {"captioner": answering(tmp_path, language=kind)}
    run(data, tmp_path / "whole.jsonl", **given)
    written = capfilt._with_written

    def dying(candidates: Any, number: int, *more: Any) -> Any:
        if number == 2:
            raise KeyboardInterrupt
        return written(candidates, number, *more)

    with monkeypatch.context() as patched:
        patched.setattr(capfilt, "_with_written", dying)
        with pytest.raises(KeyboardInterrupt):
            run(data, tmp_path / "killed.jsonl", **given)
    with (tmp_path / "killed.jsonl").open("a") as file:
        file.write('{"half a li')
    with pytest.raises(ValueError, match="was begun with other settings"):
        run(data, tmp_path / "killed.jsonl", replace(SETTINGS, keep=1), **given)
    run(data, tmp_path / "killed.jsonl", **given)
    assert (tmp_path / "killed.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert not (tmp_path / "killed.progress.json").exists()
    with pytest.raises(ValueError, match="is there already"):
        run(data, tmp_path / "killed.jsonl", **given)
    whole, killed = (
        json.loads((tmp_path / f"{name}.provenance.json").read_text())
        for name in ("whole", "killed")
    )
    assert whole == killed
    assert whole["kept"]["generated"] > 0


def test_a_run_that_came_to_nothing_can_be_begun_anew(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(capfilt, "_with_written", failing)
        with pytest.raises(KeyboardInterrupt):
            run(data, tmp_path / "out.jsonl")
    assert (tmp_path / "out.progress.json").exists()
    run(data, tmp_path / "out.jsonl", replace(SETTINGS, keep=1))
    assert len(kept(tmp_path / "out.jsonl")) == NUM


@pytest.mark.parametrize("prompt", ["", "a photo of"])
def test_a_language_model_is_asked_in_its_own_template(
    prompt: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, processor = answering(tmp_path)
    generate, told = model.generate, []

    def spied(**given: Any) -> torch.Tensor:
        told.append({**given, "training": model.training})
        return generate(**given)

    monkeypatch.setattr(model, "generate", spied)
    model.train()
    run(
        data,
        tmp_path / "out.jsonl",
        replace(SETTINGS, prompt=prompt),
        captioner=(model, processor),
    )
    assert model.training
    assert not any(given["training"] for given in told)
    words = [{"type": "text", "text": prompt}] if prompt else []
    chat = [{"role": "user", "content": [{"type": "image"}, *words]}]
    text = processor.apply_chat_template(chat, add_generation_prompt=True)
    pixels = [tiny_image(seed=number) for number in range(2)]
    expected = processor(images=pixels, text=[text] * 2, return_tensors="pt")
    num = SETTINGS.candidates
    assert torch.equal(told[0]["input_ids"], expected["input_ids"].repeat_interleave(num, 0))
    with torch.no_grad():
        seen = model.eval().encode_images(expected["pixel_values"]).states
    torch.testing.assert_close(told[0]["patch_features"], seen.repeat_interleave(num, 0))
    assert (told[0]["top_p"], told[0]["temperature"]) == (SETTINGS.top_p, 1.0)
    about = json.loads((tmp_path / "out.provenance.json").read_text())
    assert about["captioner"]["by"] == "language model"
    assert about["settings"]["prompt"] == prompt


def test_what_a_language_model_writes_is_what_it_generates(data: Path, tmp_path: Path) -> None:
    model, processor = answering(tmp_path)
    every = Settings(candidates=6, keep=99, chunk=1, max_new_tokens=8)
    run(data, tmp_path / "out.jsonl", every, captioner=(model, processor))
    first = [row for row in kept(tmp_path / "out.jsonl") if row["images"] == ["images/0.png"]]
    texts = {
        row["messages"][1]["content"]
        for row in first
        if row["meta"]["capfilt"]["source"] == "generated"
    }
    chat = [{"role": "user", "content": [{"type": "image"}]}]
    text = processor.apply_chat_template(chat, add_generation_prompt=True)
    inputs = processor(images=[tiny_image(seed=0)], text=[text], return_tensors="pt")
    torch.manual_seed(Random("capfilt/0/0").getrandbits(63))
    ids = model.generate(
        **inputs, do_sample=True, top_p=0.9, num_return_sequences=6, max_new_tokens=8
    )[:, inputs["input_ids"].shape[1] :]
    ends = set(model.generation_config.eos_token_id)
    expected = set()
    for row in ids.tolist():
        end = next((n for n, token in enumerate(row) if token in ends), None)
        if end is not None:
            expected.add(processor.tokenizer.decode(row[:end], skip_special_tokens=True).strip())
    assert texts == expected - {""} != set()


def test_similarity_judges_as_a_contrastive_tower_would(data: Path, tmp_path: Path) -> None:
    model = tiny_alignment(seed=1)
    judge = Similarity(model, alignment_processor(model))
    run(data, tmp_path / "out.jsonl", CHOICE, judge=judge, captioner=None)
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
    modes = []
    judge.model.vision_model.register_forward_hook(lambda part, *_: modes.append(part.training))
    judge.model.train()
    assert judge.scores(images, texts, pairs) == pytest.approx(expected, abs=1e-5)
    assert (modes, judge.model.training) == ([False], True)


def test_what_has_no_two_towers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is a SiglipVisionModel; expected a model with an image"):
        TwoTowers.load(save_vision(tmp_path / "vision", "siglip_vision_model"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"keep": 0}, r"keep is 0; expected 1 or more"),
        ({"candidates": -1}, r"candidates is -1; expected 0 or more"),
        ({"max_new_tokens": 0}, r"max_new_tokens is 0; expected 1 or more"),
        ({"top_p": 0.0}, r"top_p is 0\.0; expected a probability in \(0, 1\]"),
        ({"top_p": 1.1}, r"top_p is 1\.1"),
        ({"top_p": float("nan")}, r"top_p is nan"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Settings(**changes)


def test_what_the_captioner_cannot_do_is_refused_before_anything_is_written(
    data: Path, tmp_path: Path
) -> None:
    before, output = set(tmp_path.iterdir()), tmp_path / "out.jsonl"
    with pytest.raises(ValueError, match=f"max_new_tokens is {LENGTH}, and the captioner has room"):
        run(data, output, replace(SETTINGS, max_new_tokens=LENGTH))
    with pytest.raises(ValueError, match="has no language model that would read it"):
        run(data, output, replace(SETTINGS, prompt="a photo of"))
    with pytest.raises(ValueError, match="candidates is 0, and there is a captioner"):
        run(data, output, CHOICE)
    with pytest.raises(ValueError, match="candidates is 4, and there is no captioner"):
        run(data, output, captioner=None)
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("max_tiles", [None, 2])
def test_a_prompt_with_all_views_of_an_image_leaves_room_for_a_caption(
    max_tiles: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiled = {} if max_tiles is None else {"image_resize": "tiles", "max_tiles": max_tiles}
    model, processor = answering(tmp_path, **tiled)
    chat = [{"role": "user", "content": [{"type": "image"}]}]
    text = processor.apply_chat_template(chat, add_generation_prompt=True)
    words = processor.tokenizer(text, add_special_tokens=False)["input_ids"]
    views = 1 if max_tiles is None else 1 + max_tiles
    length = len(words) - 1 + views * processor.num_image_tokens
    config = model.config.text_config
    monkeypatch.setattr(config, "max_position_embeddings", length + SETTINGS.max_new_tokens)
    assert checked_writer((model, processor), SETTINGS) is not None
    monkeypatch.setattr(config, "max_position_embeddings", length + SETTINGS.max_new_tokens - 1)
    with pytest.raises(ValueError, match="max_new_tokens is 6, and the captioner has room for 5"):
        checked_writer((model, processor), SETTINGS)
