"""Masks of our own making: windows of attention, packed samples, whole images."""

from typing import Any

import pytest
import torch
from torch import Tensor

from isthmus.fusion import FusionConfig
from isthmus.fusion._layout import windows_of, within
from isthmus.fusion.base import Prompt
from isthmus.fusion.inline import Inline
from tests.tiny import tiny_lm

WINDOW, LENGTH = 6, 20
WINDOWED: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"sliding_window": WINDOW},
    "gemma2": {"sliding_window": WINDOW},
    "qwen3": {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1},
}
# Kernels tile a long row differently from a short one.
TOLERANCE = 1e-4

every_family = pytest.mark.parametrize("family", WINDOWED)
every_kernel = pytest.mark.parametrize(
    ("family", "kernel"),
    # Gemma 2 knows the eager kernel alone.
    [(f, k) for f in WINDOWED for k in ("sdpa", "eager") if (f, k) != ("gemma2", "sdpa")],
)


def body_of(family: str, kernel: str) -> Any:
    return tiny_lm(family, **WINDOWED[family], attn_implementation=kernel).base_model


def run(
    body: Any, config: FusionConfig, embeds: Tensor, *, images: tuple[int, int], **more: Tensor
) -> Tensor:
    """Reads a text whose first positions are images, so many of so many tokens."""
    number, tokens = images
    places = torch.zeros(embeds.shape[:2], dtype=torch.bool)
    places[:, : number * tokens // len(embeds)] = True
    prompt = Prompt(
        embeds=embeds,
        placeholders=places,
        visual=embeds[places].reshape(number, tokens, embeds.shape[-1]),
        kernel=body.config._attn_implementation,
        **more,
    )
    fused, told = config.build(body, boundaries=(0, 0))(prompt)
    with torch.no_grad():
        return body(inputs_embeds=fused, use_cache=False, **told).last_hidden_state


@every_kernel
def test_packed_samples_longer_than_a_window_are_as_if_alone(family: str, kernel: str) -> None:
    body = body_of(family, kernel)
    embeds = torch.randn(1, 2 * LENGTH, body.config.hidden_size)
    segments = torch.arange(2).repeat_interleave(LENGTH)[None]
    nothing = {"config": Inline.Config(), "images": (0, 1)}
    packed = run(body, embeds=embeds, segments=segments, **nothing)
    with torch.no_grad():
        for part, own in zip(embeds.split(LENGTH, dim=1), packed.split(LENGTH, dim=1), strict=True):
            alone = body(inputs_embeds=part, use_cache=False).last_hidden_state
            torch.testing.assert_close(own, alone, atol=TOLERANCE, rtol=0)


@every_kernel
@pytest.mark.parametrize("padded", [False, True])
def test_images_of_one_token_that_see_all_of_themselves_see_what_they_saw(
    family: str, kernel: str, padded: bool
) -> None:
    body = body_of(family, kernel)
    embeds = torch.randn(2, LENGTH, body.config.hidden_size)
    real = torch.ones(2, LENGTH, dtype=torch.long)
    if padded:
        real[1, 15:] = 0
    found, expected = (
        run(
            body,
            Inline.Config(image_attention=attention),
            embeds,
            images=(4, 1),
            attention_mask=real,
        )
        for attention in ("full", "causal")
    )
    torch.testing.assert_close(found[real == 1], expected[real == 1], atol=TOLERANCE, rtol=0)


@every_family
def test_a_whole_image_is_seen_by_each_of_its_tokens_and_by_no_other(family: str) -> None:
    body = body_of(family, "eager")
    embeds = torch.randn(1, LENGTH, body.config.hidden_size)
    other = embeds.clone()
    # The first image lies in columns 0 to 7, wider than the window, the second in 8 to 15.
    other[0, 7] = torch.randn(body.config.hidden_size)
    config = Inline.Config(image_attention="full")
    one, two = (run(body, config, each, images=(2, 8)) for each in (embeds, other))
    moved = (one - two).abs().amax(-1)[0] > 1e-4
    assert moved[:8].all()
    assert moved[8:13].all()
    causal = Inline.Config()
    one, two = (run(body, causal, each, images=(2, 8)) for each in (embeds, other))
    assert not (one - two)[0, :7].any()


def test_windows_are_read_off_the_configuration() -> None:
    found = {
        family: windows_of(tiny_lm(family, **more).config) for family, more in WINDOWED.items()
    }
    mixed = {"full_attention": None, "sliding_attention": WINDOW}
    assert found == {
        "llama": {None: None},
        "mistral": {None: WINDOW},
        "gemma2": mixed,
        "qwen3": mixed,
    }
    assert windows_of(tiny_lm("qwen3").config) == {"full_attention": None}


def test_a_window_ends_at_the_position_that_sees() -> None:
    seen = torch.ones(5, 5, dtype=torch.bool).tril()[None]
    assert within(seen, 2)[0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [0, 1, 1, 0, 0],
        [0, 0, 1, 1, 0],
        [0, 0, 0, 1, 1],
    ]
    assert within(seen, None) is seen


@pytest.mark.parametrize(
    "odd", [{"layer_types": ["full_attention", "linear_attention"]}, {"attention_chunk_size": 4}]
)
def test_layers_that_see_otherwise_are_named(odd: dict[str, Any]) -> None:
    config = tiny_lm().config
    for name, value in odd.items():
        setattr(config, name, value)
    with pytest.raises(ValueError, match=r"a 'llama' model has layers of the kind '(linear|chunk)"):
        windows_of(config)
