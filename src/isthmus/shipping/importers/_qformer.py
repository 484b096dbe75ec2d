"""What the published Q-Formers share: the settings of a BERT."""

from collections.abc import Mapping
from typing import Any

from isthmus.connectors._qformer_text import TextSide
from isthmus.connectors.qformer import QFormer


def of_transformers(
    qformer_config: Mapping[str, Any], *, num_queries: int, has_text: bool
) -> QFormer.Config:
    """Returns the connector of a `qformer_config` of transformers.

    The norm of the patches counts to the vision tower in this layout.

    Raises:
        ValueError: a setting is not known here.
    """
    return connector(
        qformer_config,
        num_queries=num_queries,
        cross_attention_every=qformer_config["cross_attention_frequency"],
        patch_norm_eps=None,
        has_text=has_text,
    )


def connector(
    arguments: Mapping[str, Any],
    *,
    num_queries: int,
    cross_attention_every: int,
    patch_norm_eps: float | None,
    has_text: bool,
) -> QFormer.Config:
    """Returns the connector of a BERT's settings.

    Raises:
        ValueError: the activation is not the one here, or there are two shares of dropout.
    """
    if (activation := arguments["hidden_act"]) != "gelu":
        raise ValueError(f"the Q-Former's hidden_act is {activation!r}; expected 'gelu'")
    dropout = arguments["hidden_dropout_prob"]
    if (other := arguments["attention_probs_dropout_prob"]) != dropout:
        raise ValueError(
            f"the Q-Former's hidden_dropout_prob is {dropout} and its attention_probs_dropout_prob "
            f"{other}; expected one share for both"
        )
    text = TextSide(
        vocab_size=arguments["vocab_size"], num_positions=arguments["max_position_embeddings"]
    )
    return QFormer.Config(
        num_queries=num_queries,
        depth=arguments["num_hidden_layers"],
        d_hidden=arguments["hidden_size"],
        num_heads=arguments["num_attention_heads"],
        d_ffn=arguments["intermediate_size"],
        cross_attention_every=cross_attention_every,
        dropout=dropout,
        norm_eps=arguments["layer_norm_eps"],
        patch_norm_eps=patch_norm_eps,
        text=text if has_text else None,
    )


def to_transformers(config: QFormer.Config, *, d_vision: int) -> dict[str, Any]:
    """Returns a connector as a `qformer_config` of transformers says it.

    Args:
        config: of the connector.
        d_vision: width of a patch.
    """
    body = config.body(d_vision)
    text = {}
    if config.text is not None:
        text = {
            "vocab_size": config.text.vocab_size,
            "max_position_embeddings": config.text.num_positions,
        }
    return {
        "hidden_size": body.d_hidden,
        "num_hidden_layers": body.depth,
        "num_attention_heads": body.num_heads,
        "intermediate_size": body.d_ffn,
        "cross_attention_frequency": body.cross_attention_every,
        "encoder_hidden_size": d_vision,
        "hidden_act": "gelu",
        "hidden_dropout_prob": body.dropout,
        "attention_probs_dropout_prob": body.dropout,
        "layer_norm_eps": body.norm_eps,
        **text,
    }
