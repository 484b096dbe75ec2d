"""What the recipes of BLIP-2 and of its descendants share: the first stage's losses, hand-overs."""

from isthmus.objectives._contrastive import Contrastive
from isthmus.objectives._matching import Matching
from isthmus.objectives.alignment import Alignment
from isthmus.training.models import HandOver

_HEADS = ("vision_projection.*", "text_projection.*", "itm_head.*", "lm_head.**", "temperature")
_PROJECTION = ("model.connector.projection.*",)
_ROWS = ("self_attention", "cross_attention", "query_ffn")
"""What of a layer the queries pass."""

QUERIES_ALONE = HandOver(
    keys=(
        ("qformer.queries", "model.connector.queries"),
        ("qformer.patch_norm.*", "model.connector.patch_norm.*"),
        ("qformer.body.norm.*", "model.connector.body.norm.*"),
        *(
            (f"qformer.body.layers.*.{part}.**", f"model.connector.body.layers.*.{part}.**")
            for part in _ROWS
        ),
    ),
    left=("vision_tower.**", "qformer.text.**", "qformer.body.layers.*.text_ffn.**", *_HEADS),
    fresh=_PROJECTION,
)
"""From the first stage to the second: the text side and the heads stay behind."""

WITH_TEXT = HandOver(
    keys=(("qformer.**", "model.connector.**"),),
    left=("vision_tower.**", *_HEADS),
    fresh=_PROJECTION,
)
"""The same to a Q-Former that goes on reading words."""


def first_stage(*, single_process: bool) -> Alignment.Config:
    """Returns the three losses of the first stage, as published or for a run of one process.

    Args:
        single_process: one process sees the whole batch, so that both sides of a comparison may
            learn from it; the published code gathers the other side without a gradient.
    """
    return Alignment.Config(
        contrastive=Contrastive(gradient=single_process),
        matching=Matching(negatives="local" if single_process else "all"),
    )
