"""What the weights of a Q-Former are called elsewhere: a BERT's names, and what lies around it."""

from isthmus.keys import KeyMap, Pair


def layers(theirs: str, projections: str) -> tuple[Pair, ...]:
    """Returns the names of the layers' weights.

    Args:
        theirs: where the layers lie, with a `*` for their numbers.
        projections: under which name an attention keeps its queries, keys and values.
    """
    ours = "body.layers.*"
    attentions = (("attention", "self_attention"), ("crossattention", "cross_attention"))
    feed_forwards = (("_query", "query_ffn"), ("", "text_ffn"))
    return (
        *(
            pair
            for published, own in attentions
            for pair in (
                (f"{theirs}.{published}.output.dense.*", f"{ours}.{own}.output.*"),
                (f"{theirs}.{published}.output.LayerNorm.*", f"{ours}.{own}.norm.*"),
                (f"{theirs}.{published}.{projections}.*.*", f"{ours}.{own}.*.*"),
            )
        ),
        *(
            pair
            for suffix, own in feed_forwards
            for pair in (
                (f"{theirs}.intermediate{suffix}.dense.*", f"{ours}.{own}.inner.*"),
                (f"{theirs}.output{suffix}.dense.*", f"{ours}.{own}.output.*"),
                (f"{theirs}.output{suffix}.LayerNorm.*", f"{ours}.{own}.norm.*"),
            )
        ),
    )


QFORMER = KeyMap((("layernorm.*", "body.norm.*"), *layers("encoder.layer.*", "attention")))
"""Of a `Blip2QFormerModel`, which has neither queries nor embeddings of its own."""

AROUND = KeyMap(
    (
        ("query_tokens", "queries"),
        ("embeddings.word_embeddings.*", "text.words.*"),
        ("embeddings.position_embeddings.*", "text.positions.*"),
        ("language_projection.*", "projection.*"),
    )
)
"""Of a whole BLIP-2, what stands between the tower and the language model beside that."""

BESIDE_FILE = "around_qformer.safetensors"
"""Name of the file beside a `Blip2QFormerModel` with what that class has no place for."""

BESIDE = KeyMap(
    (*AROUND.pairs, ("ln_vision.*", "patch_norm.*")),
    ignored=("vision_projection.*", "text_projection.*", "itm_head.*", "lm_head.**", "temperature"),
)
"""Of that file; the norm of the patches, which whole models count to the tower, is called as in
LAVIS, and the heads of the first stage are no part of a connector."""
