"""The body of a causal language model that reads vectors, not words: no embeddings, no head."""

import json
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils import logging

from isthmus.pretrained import read_config

PROBED_TOKENS = 16
"""Random vectors on which a body is tried."""
AGREEMENT = 0.05
"""Largest distance of two bodies that count as one, in lengths of what they give: half precision
may round one's table of positions and not the other's."""


@final
class LanguageBody(nn.Module):
    """Runs the blocks of a causal language model over vectors, those of each image on their own.

    Shape: (images, tokens, d_text) -> (images, tokens, d_text), where `d_text` is the width of this
    model's token embeddings; in some families its blocks have another.
    """

    def __init__(self, model: PreTrainedModel, *, causal: bool) -> None:
        """Takes a model without head, and removes its token embeddings.

        Args:
            model: body of a causal language model.
            causal: whether a token sees only those before it.
        """
        super().__init__()
        embeddings: Any = model.get_input_embeddings()
        self.d_text = int(embeddings.weight.shape[1])
        model.set_input_embeddings(None)  # type: ignore[arg-type] # nothing looks up words
        # Read by transformers wherever a mask is made; it works for nearly every family.
        model.config.is_causal = causal
        self.causal = causal
        self.model = model

    @property
    def max_positions(self) -> int | None:
        """Tokens that the model was made for; None if it names no limit."""
        return getattr(self.model.config, "max_position_embeddings", None)

    def reset_parameters(self) -> None:
        """Draws fresh weights as the family does, and computes its tables of positions."""
        with torch.no_grad():
            self.model.apply(self.model._init_weights)

    def forward(
        self, embeds: Float[Tensor, "images tokens d_text"]
    ) -> Float[Tensor, "images tokens d_text"]:
        """Returns the hidden states behind the last norm."""
        if len(embeds) == 0:
            # Blocks cannot run on nothing, but every process has to run every trained part.
            return embeds + self(embeds.new_zeros(1, *embeds.shape[1:]))[:0]
        # Given, since some families would count positions by a mask.
        positions = torch.arange(embeds.shape[1], device=embeds.device)
        return self.model(
            inputs_embeds=embeds,
            position_ids=positions.expand(len(embeds), -1),
            use_cache=False,
        ).last_hidden_state

    def respects_attention(self) -> bool:
        """Tells whether what a token gives depends on later ones exactly where it should."""
        embeds = self._noise(seed=0)
        others = embeds.clone()
        # Noise of another draw: a layer norm would hide a shift by a constant.
        others[:, -1] = self._noise(seed=1)[:, -1]
        with torch.no_grad():
            before, after = (self(each)[:, :-1] for each in (embeds, others))
        return torch.equal(before, after) == self.causal

    def take_weights(self, source: "LanguageBody", name: str) -> None:
        """Takes the weights of another body, and checks that this one then does the same.

        Args:
            source: of the same architecture.
            name: of the source, for the error.

        Raises:
            ValueError: its weights have other names or shapes, or its settings differ.
        """
        remedy = "take its configuration from there with from_language_model"
        try:
            self.load_state_dict(source.state_dict())
        except RuntimeError as error:
            raise ValueError(
                f"the weights of {name} do not fit the adapter: {error}; {remedy}"
            ) from error
        embeds, training = self._noise(seed=0), self.training
        with torch.no_grad():
            expected, found = source.eval()(embeds), self.eval()(embeds)
        self.train(training)
        if (found - expected).norm() > AGREEMENT * expected.norm():
            raise ValueError(
                f"with the weights of {name} the adapter does not compute what that model does, so "
                f"their settings differ; {remedy}"
            )

    def _noise(self, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(1, PROBED_TOKENS, self.d_text, generator=generator)
        return noise.to(self.model.device, self.model.dtype)


def build(config: dict[str, Any], *, causal: bool) -> LanguageBody:
    """Returns a body with fresh weights.

    Args:
        config: of the language model, as transformers writes it.
        causal: whether a token sees only those before it.
    """
    # Whatever dtype a file named: the weights have that of the model around them.
    model = AutoModel.from_config(AutoConfig.for_model(**config), dtype=torch.get_default_dtype())
    return LanguageBody(model, causal=causal)


def load(language: str, **options: Any) -> PreTrainedModel:
    """Loads a causal language model without its head.

    Args:
        language: local folder or hub id.
        **options: passed on to `from_pretrained`.

    Raises:
        ValueError: it is no causal language model, or weights are missing.
    """
    check(read_config(language).to_dict(), where=repr(language))
    # Its head is left out on purpose, which transformers would report as a fault.
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        model, report = AutoModel.from_pretrained(language, output_loading_info=True, **options)
    finally:
        logging.set_verbosity(verbosity)
    if absent := sorted(report["missing_keys"]):
        raise ValueError(
            f"{language!r} lacks weights of its language model, such as {absent[0]!r}; copy the "
            "whole folder again"
        )
    return model.eval()


def check(config: dict[str, Any], *, where: str) -> None:
    """Checks that a configuration is one of a causal language model.

    Args:
        config: as transformers writes it.
        where: what holds it, for the error.

    Raises:
        ValueError: it is not.
    """
    if (kind := config.get("model_type")) not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise ValueError(
            f"{where} has the model_type {kind!r}; expected that of a causal language model, such "
            "as llama, qwen3, opt, gpt2 or gpt_neox"
        )


def portable(config: PreTrainedConfig) -> dict[str, Any]:
    """Returns a configuration as JSON holds it, without what belongs to its folder or its head."""
    left_out = {"_name_or_path", "architectures", "auto_map", "dtype", "transformers_version"}
    left_out |= {"id2label", "label2id"}
    written = json.loads(config.to_json_string(use_diff=False))
    return {name: value for name, value in written.items() if name not in left_out}


def embedding_rms(model: PreTrainedModel) -> float:
    """Returns the root mean square of the entries of a language model's embedded tokens.

    Asked of the module, not of its table: some families scale what they look up.
    """
    embed: Any = model.get_input_embeddings()
    ids = torch.arange(embed.num_embeddings, device=model.device)
    with torch.no_grad():
        sums = [embed(part).double().square().mean(-1).sum() for part in ids.split(4096)]
    return float((torch.stack(sums).sum() / len(ids)).sqrt())
