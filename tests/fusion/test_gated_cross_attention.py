"""Gated cross-attention: who sees which image, what stays the language model's, what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from isthmus import IsthmusForConditionalGeneration
from isthmus.fusion._layers import ROUTE
from isthmus.fusion.base import Prompt
from isthmus.fusion.gated_cross_attention import GatedBlock, GatedCrossAttention, Media
from tests.tiny import LANGUAGE_CONFIGS, tiny_lm, tiny_model, tiny_pixels

WIDTH, TOKENS, LENGTH = 16, 3, 7
SMALL = {"num_heads": 2, "d_head": 4}
# Kernels tile a batch differently from a single sample.
BATCH_TOLERANCE = 1e-5

every_family = pytest.mark.parametrize("family", LANGUAGE_CONFIGS)
every_view = pytest.mark.parametrize("sees", ["latest", "all"])


def marks(*places: tuple[int, ...]) -> Tensor:
    """Rows with an image at each of the places."""
    found = torch.zeros(len(places), LENGTH, dtype=torch.bool)
    for row, own in zip(found, places, strict=True):
        row[list(own)] = True
    return found


def open_gates(parts: list[Any]) -> None:
    """Random weights everywhere, the gates among them."""
    with torch.no_grad():
        for part in parts:
            for parameter in part.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.3)


def block_of(config: GatedCrossAttention.Config) -> GatedBlock:
    block = GatedBlock(config, WIDTH, WIDTH)
    open_gates([block])
    return block


def opened(folder: Path, family: str = "llama", **settings: Any) -> IsthmusForConditionalGeneration:
    config = GatedCrossAttention.Config(**SMALL, **settings)
    model, _ = tiny_model(folder, language=family, connector="linear", fusion=config)
    open_gates(model.model.fusion.parts())
    return model


@every_family
@every_view
def test_in_a_mixed_batch_rows_of_text_have_the_bare_language_models_logits(
    tmp_path: Path, family: str, sees: str
) -> None:
    model = opened(tmp_path, family, sees=sees)
    stock = AutoModelForCausalLM.from_pretrained(tmp_path / family)
    ids = torch.randint(3, 250, (3, 9))
    padding = torch.ones_like(ids)
    padding[2, 6:] = 0
    shown = ids.clone()
    shown[1, 2] = model.config.image_token_id
    with torch.no_grad():
        expected = stock(input_ids=ids, attention_mask=padding).logits
        found = model(input_ids=shown, attention_mask=padding, pixel_values=tiny_pixels(1)).logits
    assert torch.equal(found[[0, 2]], expected[[0, 2]])
    assert (found[1] - expected[1]).abs().amax(-1)[2:].min() > 1e-3


@every_view
def test_shut_gates_change_nothing(sees: str) -> None:
    body = tiny_lm().base_model
    embeds = torch.randn(2, LENGTH, body.config.hidden_size)
    bare = body(inputs_embeds=embeds).last_hidden_state
    fusion = GatedCrossAttention.Config(sees=sees).build(body, boundaries=(0, 0)).eval()
    prompt = Prompt(
        embeds=embeds,
        placeholders=marks((1, 4), ()),
        visual=torch.randn(2, TOKENS, body.config.hidden_size),
    )
    with torch.no_grad():
        fusion.marker.copy_(embeds[0, 1])
        prompt.embeds[0, 4] = embeds[0, 1]
        bare = body(inputs_embeds=prompt.embeds).last_hidden_state
        fused, told = fusion(prompt)
        assert torch.equal(body(inputs_embeds=fused, **told).last_hidden_state, bare)
    assert told[ROUTE].visits == len(fusion.layers)


@pytest.mark.parametrize(
    ("sees", "first", "second"),
    [
        # Words in front of all images learn nothing, or, as published, the mean of their images.
        ("latest", [1, 2, 3], [4, 5, 6]),
        ("all", [0, 1, 2, 3, 4, 5, 6], [0, 4, 5, 6]),
    ],
)
def test_a_word_sees_the_image_before_it_or_all_before_it(
    sees: str, first: list[int], second: list[int]
) -> None:
    config = GatedCrossAttention.Config(**SMALL, sees=sees)
    block, states = block_of(config), torch.randn(1, LENGTH, WIDTH)
    visual, places = torch.randn(2, TOKENS, WIDTH), marks((1, 4))
    learned = block.attend(states, Media.of(places, visual, config))
    for image, seen in ((0, first), (1, second)):
        other = visual.clone()
        other[image] = torch.randn(TOKENS, WIDTH)
        moved = (block.attend(states, Media.of(places, other, config)) - learned).abs().amax(-1)[0]
        assert (moved > 1e-4).nonzero().flatten().tolist() == seen
    if sees == "latest":
        assert not learned[0, 0].any()


def test_words_that_see_all_attend_to_the_tokens_of_all() -> None:
    config = GatedCrossAttention.Config(**SMALL, sees="all")
    block, states = block_of(config), torch.randn(1, LENGTH, WIDTH)
    visual = torch.randn(2, TOKENS, WIDTH)
    together = block.attend(states, Media.of(marks((1, 4)), visual, config))[:, 4:]
    as_one = Media.of(marks((0,)), visual.reshape(1, 2 * TOKENS, WIDTH), config)
    torch.testing.assert_close(together, block.attend(states, as_one)[:, 4:], atol=1e-6, rtol=0)


@every_view
def test_images_of_other_samples_are_not_seen(sees: str) -> None:
    """Neither in a batch, where samples have fewer images than others, nor packed into one row."""
    config = GatedCrossAttention.Config(**SMALL, sees=sees)
    block, states = block_of(config), torch.randn(2, LENGTH, WIDTH)
    visual, places = torch.randn(3, TOKENS, WIDTH), marks((2,), (1, 4))
    alone = [
        block(states[row : row + 1], Media.of(places[row : row + 1], own, config))[0]
        for row, own in enumerate((visual[:1], visual[1:]))
    ]
    batch = block(states, Media.of(places, visual, config))
    torch.testing.assert_close(batch, torch.stack(alone), atol=BATCH_TOLERANCE, rtol=0)
    segments = torch.tensor([[0] * LENGTH + [1] * LENGTH])
    packed = Media.of(places.flatten()[None], visual, config, segments)
    found = block(states.reshape(1, 2 * LENGTH, WIDTH), packed)
    torch.testing.assert_close(found[0], torch.cat(alone), atol=BATCH_TOLERANCE, rtol=0)


@every_view
def test_words_that_follow_a_prompt_see_its_images(sees: str) -> None:
    config = GatedCrossAttention.Config(**SMALL, sees=sees)
    block, states = block_of(config), torch.randn(2, LENGTH, WIDTH)
    media = Media.of(marks((1, 4), (2,)), torch.randn(3, TOKENS, WIDTH), config)
    whole = block(states, media)
    torch.testing.assert_close(block(states[:, -2:], media.after(2)), whole[:, -2:])


@pytest.mark.parametrize(
    ("settings", "numbers"),
    [({}, [0, 1, 2, 3]), ({"every": 2}, [0, 2]), ({"layers": (3, 1)}, [1, 3])],
)
def test_blocks_stand_before_the_chosen_layers(
    settings: dict[str, Any], numbers: list[int]
) -> None:
    body = tiny_lm(num_hidden_layers=4).base_model
    GatedCrossAttention.Config(**settings).build(body, boundaries=(0, 0))
    with_block = [n for n, layer in enumerate(body.layers) if hasattr(layer, "gated_block")]
    assert with_block == numbers


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"num_heads": 0}, "num_heads is 0; expected 1 or more"),
        ({"every": 0}, "every is 0; expected 1 or more"),
        ({"every": 2, "layers": (1,)}, "both choose layers"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        GatedCrossAttention.Config(**settings)
    with pytest.raises(ValueError, match="names layer 7; the language model has layers 0 to 1"):
        GatedCrossAttention.Config(layers=(7,)).build(tiny_lm().base_model, boundaries=(0, 0))


@every_view
def test_no_layer_waits_for_the_device(sees: str) -> None:
    """On the meta device a value that the host asks for cannot be had, so asking is an error."""
    body = tiny_lm().base_model
    width = body.config.hidden_size
    config = GatedCrossAttention.Config(sees=sees)
    fusion = config.build(body, boundaries=(0, 0)).eval()
    media = Media.of(marks((1, 4), ()), torch.zeros(2, TOKENS, width), config)
    told = Media(
        media.tokens.to("meta"),
        media.time.to("meta"),
        media.first.to("meta"),
        media.last.to("meta"),
        sees_all=media.sees_all,
    )
    mask = torch.ones(2, 1, LENGTH, LENGTH, dtype=torch.bool, device="meta")
    states = body.to("meta")(
        inputs_embeds=torch.zeros(2, LENGTH, width, device="meta"),
        attention_mask=mask,
        use_cache=False,
        **{ROUTE: told},
    ).last_hidden_state
    assert states.shape == (2, LENGTH, width)
    assert told.visits == len(fusion.layers)
    with pytest.raises(RuntimeError):
        bool(states[0, 0, 0])
