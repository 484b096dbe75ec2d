"""The shipped towers load like a hub model, and building one goes on exactly where it stopped."""

import json
import math
from collections.abc import Callable
from functools import lru_cache
from itertools import islice
from pathlib import Path
from random import Random
from statistics import fmean

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from transformers import (
    AutoImageProcessor,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedTokenizerFast,
    SiglipVisionModel,
)

from isthmus.microworld import towers
from isthmus.microworld.render import RGB
from isthmus.microworld.scene import ATTRIBUTES, COLOURS, MAX_THINGS, SEEN
from isthmus.microworld.towers.build import TOWERS
from isthmus.microworld.towers.classifier import Classification, labelled_scene, window
from isthmus.microworld.towers.contrastive import Contrastive
from isthmus.microworld.towers.corpus import Curriculum, Document, documents
from isthmus.microworld.towers.encoder_decoder import EncoderDecoder
from isthmus.microworld.towers.language import LanguageModeling, encode
from isthmus.microworld.towers.masked import MaskedPatches, places
from isthmus.microworld.towers.masked_words import MaskedWords
from isthmus.microworld.towers.pixels import coverage, nameless_palette, normalised, pictures
from isthmus.microworld.towers.pretrain import Pretraining, pretrain
from isthmus.microworld.towers.regions import regions, told
from isthmus.microworld.towers.siglip_start import fresh_vision, grown_vision
from isthmus.microworld.towers.start import fresh
from isthmus.microworld.towers.texts import KINDS
from isthmus.microworld.towers.vocabulary import microworld_tokenizer

VISION = {"siglip": 0, "siglip_large": 0, "dinov2": 1, "vit": 1}
"""Tokens before the patches, by tower."""
LANGUAGE = {"lm_tiny": 0.6e6, "lm_base": 3e6, "lm_chat": 3e6, "lm_chat_large": 6e6}
"""Most parameters, by tower."""
EASY = ("shape", "colour", "reading")
BARS = {
    "siglip": {"probe_colour": 0.95, "probe_shape": 0.95},
    "siglip_large": {f"probe_{name}": 0.99 for name in ATTRIBUTES},
    "vit": {"accuracy": 0.9, "probe_colour": 0.95, "probe_shape": 0.6},
    "bert": {f"restored_{kind}": 0.4 for kind in KINDS},
    "lm_tiny": {f"things_1_{task}": 0.95 for task in ("colour", "shape", "reading")},
    "lm_chat": {**{f"things_{n}": 0.95 for n in (1, 2, 3, 4)}, "things_5": 0.90},
    "lm_chat_large": {f"things_{n}": 0.95 for n in (1, 2, 3, 4, 5)},
    # What stands where is beyond it: there its answers are no better than guesses.
    "t5": {f"things_{n}_{task}": 0.99 for n in (1, 2, 3, 4, 5) for task in EASY},
}
"""Least share of right answers, by score of the provenance file."""
QUIET = Console(quiet=True)


def provenance(name: str) -> dict:
    return json.loads((towers.path(name) / "provenance.json").read_text())


def test_all_towers_are_there_and_small() -> None:
    assert towers.names() == sorted([*VISION, *LANGUAGE, "bert", "t5"])
    assert towers.names() == sorted(TOWERS)
    sizes = [
        sum(file.stat().st_size for file in towers.path(name).iterdir()) for name in towers.names()
    ]
    assert max(sizes) < 11.1e6
    assert sum(sizes) < 50e6


def test_an_unknown_tower_names_the_towers() -> None:
    with pytest.raises(ValueError, match=r"'clip'.*siglip"):
        towers.path("clip")


@pytest.mark.parametrize("name", VISION)
def test_vision_towers_load(name: str) -> None:
    model, report = AutoModel.from_pretrained(towers.path(name), output_loading_info=True)
    # A ViT has a pooler besides, which no label taught anything.
    assert not [key for key in report["missing_keys"] if not key.startswith("pooler.")]
    AutoImageProcessor.from_pretrained(towers.path(name), backend="pil")
    hidden = model(pixel_values=torch.zeros(1, 3, 64, 64).to(model.dtype)).last_hidden_state
    assert hidden.shape[1] == VISION[name] + 64
    assert model.dtype == torch.float16


@pytest.mark.parametrize("name", LANGUAGE)
def test_language_models_load_and_are_within_size(name: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(towers.path(name))
    tokenizer = AutoTokenizer.from_pretrained(towers.path(name))
    assert 0.75 * LANGUAGE[name] < model.num_parameters() < LANGUAGE[name]
    assert len(tokenizer) == model.config.vocab_size
    assert (tokenizer.chat_template is not None) == (name in ("lm_chat", "lm_chat_large"))
    assert "{% generation %}" in (tokenizer.chat_template or "{% generation %}")


def test_the_encoder_decoder_loads_and_ends_what_it_reads() -> None:
    model = AutoModelForSeq2SeqLM.from_pretrained(towers.path("t5"))
    tokenizer = AutoTokenizer.from_pretrained(towers.path("t5"))
    assert 1.5e6 < model.num_parameters() < 2.5e6
    assert len(tokenizer) == model.config.vocab_size
    assert tokenizer("a red star").input_ids[-1] == model.config.eos_token_id
    other = AutoTokenizer.from_pretrained(towers.path("lm_base"))
    assert tokenizer.get_vocab() == other.get_vocab()


@pytest.mark.parametrize("name", towers.names())
def test_provenance_tells_how_each_was_made_and_that_it_is_good_enough(name: str) -> None:
    facts = provenance(name)
    assert facts["command"] == f"isthmus microworld build --only {name}"
    assert facts["steps"] > 0
    assert facts["scores"]
    for score, bar in BARS.get(name, {}).items():
        assert facts["scores"][score] >= bar


def test_the_larger_language_model_is_the_better_one() -> None:
    small, large = (provenance(name)["scores"] for name in ("lm_chat", "lm_chat_large"))
    assert large["things_5"] > small["things_5"]
    assert fmean(large[f"things_{n}"] for n in range(1, 6)) > fmean(
        small[f"things_{n}"] for n in range(1, 6)
    )


def test_the_larger_vision_tower_has_lost_nothing() -> None:
    small, large = (provenance(name)["scores"] for name in ("siglip", "siglip_large"))
    assert small.keys() == large.keys()
    assert all(large[score] > small[score] - 0.003 for score in small)


@torch.no_grad()
def test_a_grown_vision_tower_begins_as_the_same_function() -> None:
    folder = towers.path("siglip")
    model = grown_vision(folder, depth=9)()
    pixels = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(
        model(pixels).last_hidden_state,
        SiglipVisionModel.from_pretrained(folder, dtype=torch.float32)(pixels).last_hidden_state,
    )
    assert model.config.num_hidden_layers == len(model.encoder.layers) == 9
    learning = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert {name.split(".")[2] for name in learning} == {"2", "5", "8"}
    assert all(name.startswith("encoder.layers.") for name in learning)


@pytest.mark.slow
def test_a_locked_vision_tower_learns_when_the_text_tower_has() -> None:
    start = grown_vision(towers.path("siglip"), depth=7)
    run = Contrastive("siglip_large", start, steps=4, seed=0, locked=0.5)
    for step, learns in ((1, False), (2, True)):
        run.loss(step)[0].backward()
        assert (run.model.vision.encoder.layers[6].mlp.fc2.weight.grad is not None) == learns
        assert run.model.text.embeddings.token_embedding.weight.grad.any()


@lru_cache(maxsize=1)
def shipped_tokenizer() -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(towers.path("lm_chat"))


@pytest.mark.slow
def test_the_tokenizer_is_made_as_it_was() -> None:
    made = microworld_tokenizer(chat=True)
    assert made.get_vocab() == shipped_tokenizer().get_vocab()
    assert made.chat_template == shipped_tokenizer().chat_template


@given(st.text(max_size=60))
@settings(deadline=None, max_examples=30)
def test_any_text_survives_the_tokenizer(text: str) -> None:
    tokenizer = shipped_tokenizer()
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_places_that_are_close_are_alike() -> None:
    grid = places()
    assert grid.shape == (64, 128)
    alike = grid @ grid.T
    assert alike.argmax(1).tolist() == list(range(64))
    assert alike[27, 28] == pytest.approx(alike[27, 35].item())  # the next column, the next row
    assert alike[27, 28] > alike[27, 29] > alike[27, 31]


def test_each_answer_weighs_one() -> None:
    tokenizer = shipped_tokenizer()
    pieces = ["<|user|>a<|end|>", "red", "<|user|>b", "[[12,34,56,78]]"]
    ids, weights, first = encode(tokenizer, [Document(pieces)])
    assert weights.sum().item() == pytest.approx(2.0)
    assert tokenizer.decode(ids[0][weights[0] > 0]) == "red[[12,34,56,78]]"
    assert tokenizer.decode(ids[0][first[0]]) == "red"


def test_no_question_is_asked_twice_of_a_scene() -> None:
    for document in islice(documents(Random(0), Curriculum(), chat=False, turns=30), 50):
        asked = document.pieces[2::2]  # the first piece begins with the scene
        assert document.num_things == 0 or len(asked) == len(set(asked))


def test_the_curriculum_rises_when_the_tasks_are_well_answered_on_average() -> None:
    curriculum = Curriculum()
    for _ in range(500):
        curriculum.observe({"colour": 0.96, "board": 0.9})
    assert curriculum.level == MAX_THINGS
    low = Curriculum(level=1)
    for _ in range(500):
        low.observe({"colour": 1.0, "board": 0.7})
    assert low.level == 1
    assert low.weight("colour") == pytest.approx(0.1)
    assert low.weight("board") == pytest.approx(0.3, abs=0.01)
    assert low.weight("never asked") == 1.0


def test_the_curriculum_rises_after_a_while_all_the_same() -> None:
    curriculum = Curriculum(level=2, patience=10)
    levels = []
    for _ in range(50):
        curriculum.observe({"relation": 0.5})
        levels.append(curriculum.level)
    assert levels == [2] * 9 + [3] * 10 + [4] * 10 + [5] * 21


def test_coverage_is_the_share_of_a_box_in_each_patch() -> None:
    weights = coverage([(4, 8, 12, 16), (0, 0, 8, 8)])
    assert weights[0].nonzero().flatten().tolist() == [8, 9]
    assert weights[0].sum().item() == pytest.approx(1.0)
    assert weights[1, 0].item() == pytest.approx(1.0)


def test_nameless_colours_are_none_of_the_named() -> None:
    for seed in range(20):
        palette = nameless_palette(Random(seed))
        assert palette.keys() == RGB.keys()
        nearest = min(math.dist(a, b) for a in palette.values() for b in RGB.values())
        assert nearest >= 70


def test_no_phrase_tells_a_colour_that_has_no_name() -> None:
    rng = Random(0)
    batch = pictures("train", 40, rng, nameless_share=0.5)
    assert 0 < sum(batch.nameless) < 40
    told_of = dict.fromkeys((False, True), "")
    for region in regions(batch, rng):
        nameless = batch.nameless[region.picture]
        assert ("colour" in region.traits) == (not nameless and "sign" not in region.traits)
        told_of[nameless] += region.phrase + " "
    assert not set(COLOURS) & set(told_of[True].split())
    assert set(COLOURS) <= set(told_of[False].split())


def test_nameless_pictures_show_no_named_colour() -> None:
    for share, shows in ((0.0, True), (1.0, False)):
        batch = pictures("train", 20, Random(0), nameless_share=share)
        seen = {tuple(rgb) for rgb in batch.pixels.permute(0, 2, 3, 1).reshape(-1, 3).tolist()}
        assert bool(seen & set(RGB.values())) == shows


def test_a_phrase_is_true_of_every_thing_that_has_its_traits() -> None:
    rng = Random(0)
    found = regions(pictures("train", 30, rng), rng)
    truth = told(found, found)
    assert all(truth[i][i] for i in range(len(found)))
    for row, thing in zip(truth, found, strict=True):
        for true, other in zip(row, found, strict=True):
            assert true == all(thing.traits.get(k) == v for k, v in other.said.items())


def test_the_label_is_of_the_one_thing_that_is_clearly_the_largest() -> None:
    rng = Random(0)
    for _ in range(200):
        scene, largest = labelled_scene("train", rng)
        assert scene.split == "train"
        assert (largest.shape, largest.colour) in SEEN
        sizes = [thing.size for thing in scene.things]
        assert largest.size == "large" or sizes == ["small"]
        assert sizes.count("large") <= 1


def test_a_window_lies_in_the_grid_and_around_its_box() -> None:
    rng = Random(0)
    firsts = set()
    for _ in range(200):
        _, largest = labelled_scene("train", rng)
        patches = window(largest.box, rng)
        firsts.add(patches[0])
        assert patches == sorted({*patches} & {*range(64)})
        assert {patch % 8 for patch in patches} == {*range(patches[0] % 8, patches[0] % 8 + 4)}
        shown = coverage([largest.box])[0, patches]
        assert shown.sum().item() == pytest.approx(1.0)
    assert len(firsts) == 25


def test_a_picture_without_a_window_is_seen_whole() -> None:
    model = Classification(steps=4, seed=0).model.eval()
    pixels = pictures("train", 2, Random(0)).pixels
    with torch.no_grad():
        whole = model(pixels)
        torch.testing.assert_close(model(pixels, torch.arange(64).expand(2, -1)), whole)
        patches = model.vision(pixel_values=normalised(pixels)).last_hidden_state[:, 1:]
        torch.testing.assert_close(model.head(patches).logsumexp(1), whole)


def test_the_supervised_tower_learns_no_pair_that_is_held_out() -> None:
    run = Classification(steps=4, seed=0)
    assert run.model.head.out_features == len(SEEN) == 54


def weights_after(
    work: Path,
    stops: tuple[int, ...],
    make: Callable[[], Pretraining] = lambda: MaskedPatches(steps=4, seed=0),
) -> dict[str, torch.Tensor]:
    """Trains in several calls; each call but the last is cut short by an interrupt."""
    for stop in stops:
        run = make()
        plain = run.loss

        def loss(step: int, stop: int = stop, plain=plain):
            if step == stop:
                raise KeyboardInterrupt
            return plain(step)

        run.loss = loss  # type: ignore[method-assign]
        try:
            pretrain(run, work, QUIET, seed=0)
        except KeyboardInterrupt:
            continue
    return run.model.state_dict()


def test_a_build_begun_otherwise_is_refused(tmp_path: Path) -> None:
    weights_after(tmp_path, (2,))
    longer = MaskedPatches(steps=9, seed=0)
    with pytest.raises(ValueError, match=r"'steps': 4.*'steps': 9.*delete"):
        pretrain(longer, tmp_path, QUIET, seed=0)


MAKES: dict[str, Callable[[], Pretraining]] = {
    "classification": lambda: Classification(steps=4, seed=0),
    "contrastive": lambda: Contrastive(
        "siglip", fresh_vision(width=64, depth=2), steps=4, seed=0, locked=0.5
    ),
    "language": lambda: LanguageModeling(
        "lm_tiny", fresh(width=96, depth=2), chat=False, steps=4, seed=0
    ),
    "encoder_decoder": lambda: EncoderDecoder(steps=4, seed=0),
    "masked": lambda: MaskedPatches(steps=4, seed=0),
    "words": lambda: MaskedWords(steps=4, seed=0),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKES)
def test_an_interrupted_build_ends_in_the_same_weights(tmp_path: Path, name: str) -> None:
    whole = weights_after(tmp_path / "whole", (99,), MAKES[name])
    parts = weights_after(tmp_path / "parts", (2, 99), MAKES[name])
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_towers_are_folders_ids_or_our_own() -> None:
    assert towers.located("google/siglip-base-patch16-224") == "google/siglip-base-patch16-224"
    assert towers.located("./mine") == "./mine"
    with pytest.raises(ValueError, match="unknown microworld tower 'nope'"):
        towers.located("microworld:nope")
