"""Language adapter: a small language model turns what a resampler gathered into visual tokens.

A perceiver resampler, of one layer in the paper, reads the patches into a few latents and maps them
to the width of a small pretrained language model; an attentional pooler can stand in its place.
The small model's blocks run over them as over the words of a sentence, and a linear map brings its
last hidden states to the width of the large language model. Its words never matter: it has neither
embeddings nor head.
"""

from dataclasses import dataclass, field, replace
from typing import Any, Literal, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import rms_norm

from isthmus.axes import Patches
from isthmus.connectors import _language_body
from isthmus.connectors._language_body import LanguageBody
from isthmus.connectors.attentional_pooler import AttentionalPooler
from isthmus.connectors.base import Connector, ConnectorConfig
from isthmus.connectors.perceiver_resampler import PerceiverResampler
from isthmus.pretrained import read_config

_CAUSAL = {"causal": True, "bidirectional": False}
# Added to the mean square of a vector that is scaled; that of embedded words is 1e-4 or more.
_EPSILON = 1e-8


def _stand_in() -> dict[str, Any]:
    return {
        "model_type": "llama",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "vocab_size": 64,
    }


def _one_layer() -> PerceiverResampler.Config:
    return PerceiverResampler.Config(num_latents=256, depth=1, final_norm=False)


@final
class LanguageAdapter(Connector):
    """Reads the patches into latents, and the latents with a small language model.

    Paper: PaLM2-VAdapter, arXiv 2402.10896, sections 3.3 and 4.1, the second stage. In the first,
    the same language model is an ordinary one behind the connector `attentional_pooler`.
    Shape: (images, patches, d_vision) -> (images, queries, d_text).
    Differs: any causal language model of transformers, for PaLM2 is not public. The paper does not
    say whether its tokens see later ones; both are here. It does not say how vectors and words are
    brought to one magnitude either: here each vector is scaled to the root mean square that
    embedded words have, before the small model and behind the last map. That map has a bias.
    """

    reads_masks = True

    @final
    @dataclass(frozen=True, kw_only=True)
    class Config(ConnectorConfig):
        """The resampler, the language model's own configuration, and the magnitudes."""

        resampler: ConnectorConfig = field(default_factory=_one_layer)
        """What reads the patches: a perceiver resampler of one layer and without final norm (more
        layers hurt, table 4), or an attentional pooler. Set a resampler's `num_frames` for clips:
        the paper has 8."""
        adapter_config: dict[str, Any] = field(default_factory=_stand_in)
        """Configuration of the small language model, as transformers writes it; it is saved with
        the model, so that the small model's folder is needed only once. The default is a stand-in
        of two layers, to try things out: `from_language_model` reads that of a pretrained one."""
        attention: Literal["causal", "bidirectional"] = "causal"
        """Whether a token sees only those before it, as the language model learned, or all."""
        pretrained: bool = True
        """Whether the body takes over the weights of the model that it starts from, or its
        architecture and magnitudes alone (the first row of table 3)."""
        input_rms: float = 1.0
        """Root mean square of the entries of what enters the small model: that of its own embedded
        tokens."""
        output_rms: float = 1.0
        """Root mean square of the entries of the visual tokens: that of the large language model's
        embedded tokens, see `embedding_rms`."""

        def __post_init__(self) -> None:
            """Checks the language model's kind and the magnitudes.

            Raises:
                ValueError: it is no causal language model, a magnitude is not positive, or what
                    reads the patches is neither a resampler nor a pooler.
            """
            if not isinstance(self.resampler, PerceiverResampler.Config | AttentionalPooler.Config):
                raise ValueError(
                    f"language_adapter.resampler is of kind {self.resampler.kind!r}; expected "
                    "perceiver_resampler or attentional_pooler"
                )
            where = "language_adapter.adapter_config"
            _language_body.check(self.adapter_config, where=where)
            if self.attention not in _CAUSAL:
                raise ValueError(
                    f"language_adapter.attention is {self.attention!r}; expected one of "
                    f"{', '.join(_CAUSAL)}"
                )
            for name in ("input_rms", "output_rms"):
                if not (value := getattr(self, name)) > 0:
                    raise ValueError(f"language_adapter.{name} is {value}; expected more than 0")

        def num_tokens(self, grid: tuple[int, int]) -> int:
            """Returns what the resampler gives; the language model keeps their number."""
            return self.resampler.num_tokens(grid)

        def shaped(self, start: str) -> "ConnectorConfig":
            """Returns the architecture of a pretrained adapter."""
            return replace(self, adapter_config=_language_body.portable(read_config(start)))

        def fitted(self, start: str, *, language: str) -> "ConnectorConfig":
            """Returns the architecture of a pretrained adapter, and both magnitudes."""
            found = from_language_model(
                start,
                attention=self.attention,
                output_rms=embedding_rms(language),
                resampler=self.resampler,
            )
            return replace(found, pretrained=self.pretrained)

    config: Config

    def __init__(
        self, config: Config, *, d_vision: int, d_text: int, grid: tuple[int, int]
    ) -> None:
        """Builds resampler, language model and map.

        Raises:
            ValueError: the language model was made for fewer tokens.
        """
        super().__init__()
        self.config = config
        self.input_rms, self.output_rms = config.input_rms, config.output_rms
        body = _language_body.build(config.adapter_config, causal=_CAUSAL[config.attention])
        tokens = config.num_tokens(grid)
        if body.max_positions is not None and tokens > body.max_positions:
            raise ValueError(
                f"language_adapter.resampler gives {tokens} tokens, and the adapter's "
                f"{config.adapter_config['model_type']!r} model takes {body.max_positions}; set "
                "fewer latents or take another model"
            )
        self.resampler = config.resampler.build(d_vision=d_vision, d_text=body.d_text, grid=grid)
        self.body = body
        self.projection = nn.Linear(body.d_text, d_text)

    def reset_parameters(self) -> None:
        """Draws fresh weights; each part knows how to draw its own."""
        for part in (self.resampler, self.body, self.projection):
            part.reset_parameters()

    def start_from(self, folder: str) -> None:
        """Takes the body of a small language model, if it is to; see `load_adapter_weights`."""
        if self.config.pretrained:
            load_adapter_weights(self, folder)

    def forward(self, patches: Patches) -> Float[Tensor, "images tokens d_text"]:
        """Reads the patches, then what was read."""
        embeds = _scaled(self.resampler(patches), self.input_rms)
        return _scaled(self.projection(self.body(embeds)), self.output_rms)


def _scaled(states: Tensor, rms: float) -> Tensor:
    """Returns the vectors with this root mean square of their entries, each."""
    return rms_norm(states, states.shape[-1:], eps=_EPSILON) * rms


def from_language_model(
    language: str,
    *,
    attention: Literal["causal", "bidirectional"] = "causal",
    output_rms: float = 1.0,
    resampler: ConnectorConfig | None = None,
) -> LanguageAdapter.Config:
    """Describes an adapter from a pretrained language model: its architecture and magnitude.

    Args:
        language: local folder or hub id of the small language model.
        attention: what its tokens are to see.
        output_rms: of the large language model's embedded tokens, see `embedding_rms`.
        resampler: what reads the patches; the paper's when None.

    Raises:
        ValueError: it is not a causal language model, or it does not know this attention.
    """
    model = _language_body.load(language, dtype=torch.float32)
    config = LanguageAdapter.Config(
        resampler=resampler or _one_layer(),
        adapter_config=_language_body.portable(model.config),
        attention=attention,
        input_rms=_language_body.embedding_rms(model),
        output_rms=output_rms,
    )
    if not LanguageBody(model, causal=_CAUSAL[attention]).respects_attention():
        raise ValueError(
            f"a {model.config.model_type!r} model does not know {attention} attention; choose the "
            "other one, or another language model"
        )
    return config


def embedding_rms(language: str) -> float:
    """Returns the root mean square of the entries of a language model's embedded tokens.

    Args:
        language: local folder or hub id.
    """
    return _language_body.embedding_rms(_language_body.load(language, dtype=torch.float32))


def load_adapter_weights(connector: LanguageAdapter, language: str) -> None:
    """Puts the weights of a pretrained language model into an adapter of its architecture.

    All of its body is taken, and nothing of its embeddings and head.

    Args:
        connector: built from the configuration that `from_language_model` gave.
        language: local folder or hub id of the small language model.

    Raises:
        ValueError: weights are missing, or are of another architecture.
    """
    body = connector.body
    model: Any = _language_body.load(language, dtype=body.model.dtype)
    source = LanguageBody(model.to(body.model.device), causal=body.causal)
    body.take_weights(source, language)


CONNECTOR = LanguageAdapter
