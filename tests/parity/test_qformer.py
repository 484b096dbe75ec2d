"""Our Q-Former beside transformers' own: outputs and gradients, at other sizes, with padding."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2QFormerConfig,
    Blip2QFormerModel,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    InstructBlipQFormerConfig,
    InstructBlipQFormerModel,
    PreTrainedModel,
)

from isthmus.axes import Instruction, Patches
from isthmus.connectors.qformer import QFormer
from isthmus.keys import KeyMap
from isthmus.shipping.importers import blip2, instructblip, lavis

BATCH, NUM_QUERIES, LENGTH, GRID = 3, 4, 7, (2, 5)
D_VISION, D_TEXT, D_HIDDEN = 20, 12, 24
SIZES = {
    "hidden_size": D_HIDDEN,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "encoder_hidden_size": D_VISION,
    "vocab_size": 30,
    "max_position_embeddings": 9,
}
# Two ways of the same sums round differently; gradients add up to more.
TOLERANCE = 1e-5

every_attention = pytest.mark.parametrize("attention", ["eager", "sdpa"])
every_depth = pytest.mark.parametrize(("depth", "every"), [(3, 2), (4, 3), (2, 1)])


@dataclass
class Beside:
    """A published Q-Former, ours with its weights, and the same inputs for both."""

    theirs: PreTrainedModel
    ours: QFormer
    names: KeyMap

    def __post_init__(self) -> None:
        for parameter in self.theirs.parameters():
            nn.init.normal_(parameter, std=0.3)
        for parameter in self.ours.parameters():
            nn.init.normal_(parameter, std=0.3)
        weights = self.names.to_ours(self.theirs.state_dict())
        copies = {name: value.clone() for name, value in weights.items()}
        self.ours.load_state_dict(copies, strict=False)
        self.features = torch.randn(BATCH, GRID[0] * GRID[1], D_VISION)
        # The last image holds but the left four columns.
        filled = torch.ones(BATCH, *GRID, dtype=torch.bool)
        filled[2, :, 4:] = False
        self.padding = filled.flatten(1)
        self.ids = torch.randint(1, SIZES["vocab_size"], (BATCH, LENGTH))
        self.words = torch.ones_like(self.ids)
        self.words[1, 5:] = 0

    def queries(self) -> Tensor:
        """The queries of ours, for theirs, which has none."""
        return self.ours.queries.detach().expand(BATCH, -1, -1).clone().requires_grad_()

    def compare(
        self, queries: Tensor, hidden: Tensor, mask: Tensor | None, asked: Instruction | None
    ) -> None:
        """Holds ours against the published rows of the queries, backwards too."""
        expected = self.ours.projection(hidden[:, :NUM_QUERIES])
        weights = torch.randn_like(expected)
        (expected * weights).sum().backward()
        projection = self.ours.projection.weight.grad.clone()
        self.ours.zero_grad()
        tokens = self.ours(Patches(features=self.features, grid=GRID, mask=mask), asked)
        (tokens * weights).sum().backward()
        close(tokens, expected, "tokens")
        close(self.ours.projection.weight.grad, projection, "projection")
        close(self.ours.queries.grad, queries.grad.sum(0), "queries")
        found = self.names.to_theirs(
            {
                name: parameter.grad
                for name, parameter in self.ours.named_parameters()
                if parameter.grad is not None and not name.startswith(("queries", "projection"))
            }
        )
        published = {
            name: parameter.grad
            for name, parameter in self.theirs.named_parameters()
            if parameter.grad is not None
        }
        assert set(found) == set(published)
        for name, gradient in published.items():
            close(found[name], gradient, name)


def close(found: Tensor, expected: Tensor, name: str) -> None:
    allowed = TOLERANCE * max(1.0, expected.abs().max().item())
    assert (found - expected).abs().max() < allowed, name


def qformer(config: QFormer.Config) -> QFormer:
    return QFormer(config, d_vision=D_VISION, d_text=D_TEXT, grid=GRID).eval()


@every_attention
@every_depth
@pytest.mark.parametrize("padded", [False, True])
def test_blip2(attention: str, depth: int, every: int, padded: bool) -> None:
    config = Blip2QFormerConfig(**SIZES, num_hidden_layers=depth, cross_attention_frequency=every)
    beside = Beside(
        Blip2QFormerModel._from_config(config, attn_implementation=attention).eval(),
        qformer(blip2.connector(config.to_dict(), num_queries=NUM_QUERIES)),
        blip2.QFORMER,
    )
    mask = beside.padding if padded else None
    queries = beside.queries()
    hidden = beside.theirs(
        query_embeds=queries,
        encoder_hidden_states=beside.features,
        encoder_attention_mask=None if mask is None else mask.long(),
    ).last_hidden_state
    beside.compare(queries, hidden, mask, None)


@every_attention
@every_depth
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("asked", [False, True])
def test_instructblip(attention: str, depth: int, every: int, padded: bool, asked: bool) -> None:
    config = InstructBlipQFormerConfig(
        **SIZES, num_hidden_layers=depth, cross_attention_frequency=every
    )
    beside = Beside(
        InstructBlipQFormerModel._from_config(config, attn_implementation=attention).eval(),
        qformer(instructblip.connector(config.to_dict(), num_queries=NUM_QUERIES)),
        instructblip.QFORMER,
    )
    mask = beside.padding if padded else None
    queries = beside.queries()
    rows = torch.cat([torch.ones(BATCH, NUM_QUERIES, dtype=torch.int64), beside.words], dim=1)
    hidden = beside.theirs(
        input_ids=beside.ids if asked else None,
        attention_mask=rows if asked else None,
        query_embeds=queries,
        encoder_hidden_states=beside.features,
        encoder_attention_mask=None if mask is None else mask.long(),
    ).last_hidden_state
    instruction = Instruction(input_ids=beside.ids, attention_mask=beside.words)
    beside.compare(queries, hidden, mask, instruction if asked else None)


def test_dropout_falls_where_it_does_in_transformers() -> None:
    config = Blip2QFormerConfig(**SIZES, num_hidden_layers=2)
    beside = Beside(
        Blip2QFormerModel._from_config(config, attn_implementation="sdpa").train(),
        qformer(blip2.connector(config.to_dict(), num_queries=NUM_QUERIES)).train(),
        blip2.QFORMER,
    )
    torch.manual_seed(1)
    hidden = beside.theirs(
        query_embeds=beside.queries(), encoder_hidden_states=beside.features
    ).last_hidden_state
    torch.manual_seed(1)
    tokens = beside.ours(Patches(features=beside.features, grid=GRID))
    close(tokens, beside.ours.projection(hidden), "tokens")


VISION = {
    "hidden_size": D_VISION,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 8,
    "patch_size": 4,
}
LANGUAGE = {
    "model_type": "opt",
    "hidden_size": D_TEXT,
    "word_embed_proj_dim": D_TEXT,
    "ffn_dim": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 40,
    "max_position_embeddings": 32,
}


@pytest.mark.parametrize("family", ["blip2", "instructblip"])
def test_a_whole_model_gives_the_connector_all_of_its_weights(family: str) -> None:
    config_class, model_class, importer = {
        "blip2": (Blip2Config, Blip2ForConditionalGeneration, blip2),
        "instructblip": (InstructBlipConfig, InstructBlipForConditionalGeneration, instructblip),
    }[family]
    config = config_class(
        vision_config=VISION,
        qformer_config={**SIZES, "num_hidden_layers": 3},
        text_config=LANGUAGE,
        num_query_tokens=NUM_QUERIES,
        image_token_index=39,
    )
    whole = model_class(config).eval()
    for parameter in whole.parameters():
        nn.init.normal_(parameter, std=0.3)
    weights = {
        name: value
        for name, value in whole.state_dict().items()
        if not name.startswith(("vision_model.", "language_model."))
    }
    ours = qformer(importer.connector(config.qformer_config.to_dict(), num_queries=NUM_QUERIES))
    renamed = importer.CONNECTOR.to_ours(weights)
    assert renamed["queries"].shape == (1, NUM_QUERIES, D_HIDDEN)
    ours.load_state_dict({**renamed, "queries": renamed["queries"][0]})

    back = importer.CONNECTOR.to_theirs(renamed)
    assert set(back) == set(weights)
    assert all(back[name] is weights[name] for name in weights)

    pixels = torch.randn(2, 3, 8, 8)
    asked = Instruction(
        input_ids=torch.randint(1, SIZES["vocab_size"], (2, LENGTH)),
        attention_mask=torch.ones(2, LENGTH, dtype=torch.int64),
    )
    with torch.no_grad():
        states = whole.vision_model(pixels).last_hidden_state
        image = Patches(features=states, grid=(1, states.shape[1]))
        if family == "blip2":
            expected = whole.get_image_features(pixels)
            tokens = ours(image)
        else:
            expected = whole.get_image_features(
                pixels,
                qformer_input_ids=asked.input_ids,
                qformer_attention_mask=asked.attention_mask,
            )
            tokens = ours(image, asked)
    close(tokens, expected.pooler_output, "tokens")


def test_lavis_has_a_name_for_every_weight_of_the_second_stage() -> None:
    arguments = {
        **SIZES,
        "num_hidden_layers": 2,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "layer_norm_eps": 1e-12,
        "cross_attention_freq": 2,
        "query_length": NUM_QUERIES,
    }
    weights = qformer(lavis.connector(arguments, has_text=True)).state_dict()
    names = lavis.second_stage("t5_proj")
    published = names.to_theirs(weights)
    assert {
        "query_tokens",
        "ln_vision.weight",
        "t5_proj.bias",
        "Qformer.bert.embeddings.LayerNorm.weight",
        "Qformer.bert.encoder.layer.0.crossattention.self.key.weight",
        "Qformer.bert.encoder.layer.1.attention.output.LayerNorm.bias",
        "Qformer.bert.encoder.layer.1.intermediate_query.dense.weight",
        "Qformer.bert.encoder.layer.1.output.dense.weight",
    } <= set(published)
    back = names.to_ours(published)
    assert set(back) == set(weights)
    assert all(back[name] is weights[name] for name in weights)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_act": "relu"}, "hidden_act is 'relu'; expected 'gelu'"),
        ({"hidden_dropout_prob": 0.2}, "hidden_dropout_prob is 0.2 .*_prob 0.1; expected one"),
    ],
)
def test_settings_that_ours_lacks_are_refused(change: dict[str, object], message: str) -> None:
    arguments = Blip2QFormerConfig(**SIZES).to_dict()
    with pytest.raises(ValueError, match=message):
        blip2.connector({**arguments, **change}, num_queries=NUM_QUERIES)
