"""What LAVIS's code holds fixed, or reads from its configuration, and no file of weights says."""

from typing import Any

from isthmus.connectors.qformer import QFormer
from isthmus.shipping.importers import lavis, lavis_vision
from isthmus.shipping.importers._tower import Tower

Differences = dict[str, tuple[Any, Any]]
"""Name -> the value here and the one there."""


def check_numbers(qformer: QFormer.Config, tower: Tower) -> None:
    """Checks what changes the numbers that a file's weights lead to, and not their shapes.

    Args:
        qformer: of the model.
        tower: of the model.

    Raises:
        ValueError: LAVIS would compute something else from the same weights.
    """
    vision = tower.settings
    fixed: Differences = {
        "width of the tower's heads": (
            vision["hidden_size"] // vision["num_attention_heads"],
            lavis_vision.HEAD_WIDTH,
        ),
        "epsilon of the tower's norms": (vision["layer_norm_eps"], lavis_vision.NORM_EPS),
        "activation of the tower": (vision["hidden_act"], "gelu"),
        "width of the Q-Former's heads": (
            qformer.d_hidden // qformer.num_heads,
            lavis.HEAD_WIDTH,
        ),
        "epsilon of the Q-Former's norms": (qformer.norm_eps, lavis.NORM_EPS),
    }
    for name, (value, there) in fixed.items():
        if value != there:
            raise ValueError(
                f"the {name} is {value}, and LAVIS knows none but {there}; export blip2, which "
                "says it"
            )


def size_notes(
    qformer: QFormer.Config, tower: Tower, *, d_embedding: int | None = None
) -> tuple[str, ...]:
    """Returns what a user has to set in LAVIS, or to change in its code, before it loads a file.

    LAVIS builds its tower by `create_eva_vit_g`, and its Q-Former by `init_Qformer` from the
    configuration of bert-base-uncased; a file of other sizes fits neither.

    Args:
        qformer: of the model.
        tower: of the model.
        d_embedding: width in which pictures and texts are compared; None in the second stage.
    """
    vision = tower.settings
    body = qformer.body(vision["hidden_size"])
    configured: Differences = {
        "num_query_token": (qformer.num_queries, 32),
        "image_size": (vision["image_size"], 224),
    }
    fixed: Differences = {
        "the tower's width": (vision["hidden_size"], 1408),
        "the tower's inner width": (vision["intermediate_size"], 6144),
        "the tower's depth": (vision["num_hidden_layers"], 39),
        "the tower's patch size": (vision["patch_size"], 14),
        "qformer.d_hidden": (body.d_hidden, 768),
        "qformer.d_ffn": (body.d_ffn, 3072),
        "qformer.depth": (body.depth, 12),
        "qformer.num_heads": (body.num_heads, 12),
        "qformer.dropout": (body.dropout, 0.1),
    }
    # The first stage alone reads it from its configuration.
    every = (body.cross_attention_every, 2)
    if d_embedding is None:
        fixed["qformer.cross_attention_every"] = every
    else:
        configured["cross_attention_freq"] = every
        fixed["d_embedding"] = (d_embedding, 256)
    if qformer.text is not None:
        fixed["qformer.text.vocab_size"] = (qformer.text.vocab_size, 30523)
        fixed["qformer.text.num_positions"] = (qformer.text.num_positions, 512)
    notes: tuple[str, ...] = ()
    if settings := _differing(configured):
        said = ", ".join(f"{name} {value}" for name, (value, _) in settings.items())
        notes += (f"set in LAVIS's configuration of the model: {said}",)
    if sizes := _differing(fixed):
        said = ", ".join(f"{name} is {value} ({there})" for name, (value, there) in sizes.items())
        notes += (
            "LAVIS's code has fixed values, here in brackets, where this model has others; weights "
            f"of other sizes load only once its code is changed: {said}",
        )
    return notes


def _differing(values: Differences) -> Differences:
    return {name: pair for name, pair in values.items() if pair[0] != pair[1]}
