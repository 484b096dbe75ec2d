"""Positions and attention of images that stand in the text.

Nothing here waits for the device: how many visual tokens there are is known from shapes.
"""

import inspect
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from isthmus.fusion.base import Prompt


def check_layout(language_model: PreTrainedModel, *, positions: str, image_attention: str) -> None:
    """Checks that a language model can be told the positions and the attention of its tokens.

    Raises:
        ValueError: it cannot, and patches are to share one; or it reads with an encoder, in which
            each token sees all others anyway.
    """
    if image_attention == "full" and language_model.config.is_encoder_decoder:
        raise ValueError(
            f"{type(language_model).__name__} reads with an encoder, in which each visual token "
            "sees all of its image and the text as well; leave image_attention at 'causal'"
        )
    forward = inspect.signature(type(language_model).forward).parameters
    if positions == "shared" and "position_ids" not in forward:
        raise ValueError(
            f"{type(language_model).__name__} takes no positions, so patches cannot share one; set "
            "positions to 'sequential'"
        )


def laid_out(
    prompt: Prompt, language: PreTrainedConfig, *, shared: tuple[int, int] | None, full: bool
) -> dict[str, Any]:
    """Returns positions and mask of a prompt, as far as the language model has to be told.

    Args:
        prompt: text with the places of its images.
        language: the language model's configuration.
        shared: how many visual tokens of an image stand before and after those of its patches,
            when all patches share a position.
        full: whether visual tokens see all of their own image.
    """
    images, tokens = prompt.visual.shape[:2]
    mask, positions, real = prompt.attention_mask, prompt.position_ids, prompt.real()
    packed = prompt.segments is not None
    if positions is None and (packed or (shared is not None and images)):
        steps = steps_of(prompt.placeholders, tokens, shared)
        positions = positions_of(steps, real, prompt.segments)
    if mask is None and (positions is not None or (full and images)):
        # Without a mask, transformers takes positions that do not grow for packed samples.
        mask = real = torch.ones_like(prompt.placeholders, dtype=torch.long)
    if real is not None and (packed or (full and images)):
        seen = causal_mask(real, prompt.segments)
        masks = {
            kind: as_prepared(
                within(seen, window),
                kv_length=prompt.kv_length or real.shape[1],
                kernel=prompt.kernel,
                dtype=prompt.embeds.dtype,
            )
            for kind, window in windows_of(language).items()
        }
        mask = masks.get(None, masks)
    if full and images:
        mask = with_blocks(mask, image_blocks(prompt.placeholders, tokens))
    told = {"attention_mask": mask, "position_ids": positions}
    return {name: value for name, value in told.items() if value is not None}


def place_in_image(
    placeholders: Bool[Tensor, "batch seq"], num_tokens: int
) -> Int[Tensor, "batch seq"]:
    """Returns each visual token's number within its image, from 0; anything elsewhere."""
    return (placeholders.cumsum(1) - 1) % max(1, num_tokens)


def steps_of(
    placeholders: Bool[Tensor, "batch seq"], num_tokens: int, shared: tuple[int, int] | None
) -> Int[Tensor, "batch seq"]:
    """Returns how far each position is from the one before; see `laid_out` for `shared`."""
    if shared is None:
        return torch.ones_like(placeholders, dtype=torch.long)
    return shared_steps(placeholders, num_tokens, shared)


def shared_steps(
    placeholders: Bool[Tensor, "batch seq"], num_tokens: int, boundaries: tuple[int, int]
) -> Int[Tensor, "batch seq"]:
    """Returns how far each position is from the one before when patches of an image share one.

    So an image is not far away for what follows it, and takes little of the context that the
    language model was trained for.

    Paper: CogVLM, arXiv 2311.03079, section 2.1 (position embedding).

    Args:
        placeholders: where visual tokens belong.
        num_tokens: visual tokens of an image.
        boundaries: how many of them stand before and after those of the patches.
    """
    before, after = boundaries
    place = place_in_image(placeholders, num_tokens)
    repeats = placeholders & (place > before) & (place < num_tokens - after)
    return (~repeats).long()


def positions_of(
    steps: Int[Tensor, "batch seq"],
    real: Int[Tensor, "batch seq"] | None,
    segments: Int[Tensor, "batch seq"] | None,
) -> Int[Tensor, "batch seq"]:
    """Returns positions from 0 that grow by the steps; padding counts nothing.

    Args:
        steps: how far each position is from the one before.
        real: 1 at real positions.
        segments: which packed sample each position belongs to; each one begins at 0.
    """
    counted = (steps if real is None else steps * real.long()).cumsum(1)
    if segments is None:
        return (counted - 1).clamp(min=0)
    return counted - torch.where(begins_of(segments), counted, 0).cummax(1).values


def begins_of(segments: Int[Tensor, "batch seq"]) -> Bool[Tensor, "batch seq"]:
    """Returns where a packed sample begins."""
    begins = torch.ones_like(segments, dtype=torch.bool)
    begins[:, 1:] = segments[:, 1:] != segments[:, :-1]
    return begins


def image_blocks(
    placeholders: Bool[Tensor, "batch seq"], num_tokens: int
) -> Bool[Tensor, "batch seq seq"]:
    """Returns which positions are visual tokens of one and the same image."""
    numbers = (placeholders.cumsum(1) - 1) // max(1, num_tokens)
    numbers = torch.where(placeholders, numbers, -1)
    return (numbers[:, :, None] == numbers[:, None, :]) & placeholders[:, :, None]


def causal_mask(
    attention_mask: Int[Tensor, "batch seq"], segments: Int[Tensor, "batch seq"] | None
) -> Bool[Tensor, "batch seq seq"]:
    """Returns which positions each one sees: those before it, of its own segment, unpadded."""
    length = attention_mask.shape[1]
    ones = torch.ones(length, length, dtype=torch.bool, device=attention_mask.device)
    seen = ones.tril() & attention_mask.bool()[:, None, :]
    if segments is not None:
        seen = seen & (segments[:, :, None] == segments[:, None, :])
    return seen


def windows_of(language: PreTrainedConfig) -> dict[str | None, int | None]:
    """Returns how many positions each kind of layer sees, its own among them; None: all before it.

    The kind is None where all layers are of one, and the language model takes one mask for all.

    Raises:
        ValueError: layers of another kind are among them.
    """
    window = getattr(language, "sliding_window", None)
    kinds = getattr(language, "layer_types", None)
    known = {"full_attention": None, "sliding_attention": window}
    odd = set(kinds or ()) - set(known)
    if kinds is None and getattr(language, "attention_chunk_size", None):
        odd = {"chunked_attention"}
    if odd:
        raise ValueError(
            f"a {language.model_type!r} model has layers of the kind {min(odd)!r}, which take no "
            "mask of packed samples or of images that see all of themselves; pack no samples, and "
            "leave image_attention at 'causal'"
        )
    return {None: window} if kinds is None else {kind: known[kind] for kind in sorted(set(kinds))}


def within(
    seen: Bool[Tensor, "batch seq seq"], window: int | None
) -> Bool[Tensor, "batch seq seq"]:
    """Returns which of the positions that each one sees lie within a window that ends at it."""
    return seen if window is None else seen.triu(1 - window)


def as_prepared(
    seen: Bool[Tensor, "batch seq seq"], *, kv_length: int, kernel: str, dtype: torch.dtype
) -> Tensor:
    """Returns a mask in the form that a language model's attention takes as it is.

    Args:
        seen: which positions each one sees.
        kv_length: positions that the cache holds room for.
        kernel: attention kernel, by transformers' name.
        dtype: of the language model's states.

    Raises:
        ValueError: the kernel takes no such mask.
    """
    if kernel not in ("eager", "sdpa"):
        raise ValueError(
            f"the attention kernel {kernel!r} takes no mask of its own for each sample; choose "
            "'sdpa' or 'eager'"
        )
    room = kv_length - seen.shape[-1]
    whole = torch.nn.functional.pad(seen, (0, room))[:, None]
    if kernel == "sdpa":
        return whole
    return torch.zeros_like(whole, dtype=dtype).masked_fill(~whole, torch.finfo(dtype).min)


def with_blocks(prepared: Any, blocks: Bool[Tensor, "batch seq seq"]) -> Any:
    """Returns a prepared mask, or one for each kind of layer, that lets images see themselves."""
    if isinstance(prepared, dict):
        return {name: with_blocks(mask, blocks) for name, mask in prepared.items()}
    room = prepared.shape[-1] - blocks.shape[-1]
    whole = torch.nn.functional.pad(blocks, (0, room))[:, None]
    if prepared.dtype == torch.bool:
        return prepared | whole
    return prepared.masked_fill(whole, 0)
