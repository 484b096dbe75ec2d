"""Captions by a Q-Former alone: words that go on from the queries, generated as transformers does.

What the queries answered in each layer is where the cache begins, so an image is read once.
"""

from collections.abc import Mapping
from typing import Any, final

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import (
    DynamicCache,
    GenerationConfig,
    GenerationMixin,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import CausalLMOutputWithPast

from isthmus.modeling import alignment
from isthmus.modeling.alignment import SeenImages
from isthmus.modeling.configuration_alignment import IsthmusAlignmentConfig
from isthmus.modeling.modeling_alignment import IsthmusForAlignment


def longest_caption(model: IsthmusForAlignment) -> int:
    """Returns how many tokens a caption may have, its end mark included: as many as were learned.

    One of `max_caption_tokens` is the mark before a caption.
    """
    return model.config.max_caption_tokens - 1


@torch.no_grad()
def write_captions(
    model: IsthmusForAlignment, seen: SeenImages, *, max_new_tokens: int = 30, **settings: Any
) -> Int[Tensor, "batch seq"]:
    """Returns the token ids of captions, padded on the right; the mark before them is left out.

    Args:
        model: in evaluation mode.
        seen: an image for each caption; a caption more for each further sequence asked for.
        max_new_tokens: longest caption, its end mark included.
        **settings: as of `GenerationConfig` (beams, sampling, lengths).

    Raises:
        ValueError: the text side has no positions for so long a caption.
    """
    config = model.config
    room = alignment.words_of(model.qformer).positions.num_embeddings
    if not 1 <= max_new_tokens <= room:
        raise ValueError(
            f"max_new_tokens is {max_new_tokens}; expected 1 to {room}, the positions of the "
            "Q-Former's text side"
        )
    states, past = model.queries(seen)
    cache = DynamicCache()
    for layer, (keys, values) in enumerate(past):
        cache.update(keys, values, layer)
    # `generate` lets a cache that it is given be: each image has to be there for every beam.
    cache.batch_repeat_interleave(_copies(settings))
    start = torch.full((len(states), 1), config.bos_token_id, device=states.device)
    queries = start.new_ones(len(states), states.shape[1])
    writer: Any = _Writer(model)
    written: Tensor = writer.generate(
        start,
        attention_mask=torch.cat([queries, torch.ones_like(start)], dim=1),
        past_key_values=cache,
        generation_config=GenerationConfig(
            max_new_tokens=max_new_tokens,
            pad_token_id=config.pad_token_id,
            bos_token_id=config.bos_token_id,
            eos_token_id=config.eos_token_id,
            **settings,
        ),
    )
    return written[:, 1:]


def _copies(settings: Mapping[str, Any]) -> int:
    return max(settings.get("num_beams", 1), settings.get("num_return_sequences", 1))


@final
class _Writer(PreTrainedModel, GenerationMixin):
    """A Q-Former as a language model in the eyes of `generate`: one word at a time."""

    config_class = IsthmusAlignmentConfig
    main_input_name = "input_ids"

    def __init__(self, model: IsthmusForAlignment) -> None:
        """Takes the model whose Q-Former writes."""
        config: Any = PreTrainedConfig()
        config.num_hidden_layers = len(model.qformer.body.layers)
        super().__init__(config)
        self.model = model

    def prepare_inputs_for_generation(  # type: ignore[override]
        self, input_ids: Tensor, past_key_values: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Returns the newest word, and what stands before it."""
        return {"input_ids": input_ids[:, -1:], "past_key_values": past_key_values}

    def forward(
        self,
        input_ids: Int[Tensor, "batch 1"],
        past_key_values: DynamicCache,
        attention_mask: Tensor | None = None,
        **_: Any,
    ) -> CausalLMOutputWithPast:
        """Tells the next word; the one word that it is given sees all that stands before it."""
        qformer = self.model.qformer
        place = past_key_values.get_seq_length() - len(qformer.queries)
        embeds = alignment.words_of(qformer)(input_ids, first=place)
        layers: list[Any] = past_key_values.layers
        past = [(layer.keys, layer.values) for layer in layers]
        states, answered = qformer.body(embeds, num_queries=0, past=past)
        for layer, (keys, values) in enumerate(answered):
            past_key_values.update(keys[:, :, -1:], values[:, :, -1:], layer)
        logits = self.model.word_logits(states)
        return CausalLMOutputWithPast(logits=logits, past_key_values=past_key_values)
