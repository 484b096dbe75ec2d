"""Image self-supervision: at each patch, the language model tells what the tower sees in the next.

It stands beside language modelling and reads the same pass of the model, so that it costs one
linear map.
"""

from dataclasses import dataclass
from typing import Any, final

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from isthmus.axes import Batch
from isthmus.fusion.inline import InTextConfig
from isthmus.modeling.configuration_isthmus import IsthmusConfig
from isthmus.objectives._reading import read
from isthmus.objectives.base import Objective, ObjectiveConfig, Outcome


@final
class PatchPrediction(Objective):
    """A linear map takes the hidden state at a patch to what the tower saw in the next patch.

    Paper: CogVLM, arXiv 2311.03079, table 6 ("image SSL loss"): the CLIP feature of the next
        position is told by each visual feature.
    Units: one less the cosine of what is told and what is true, per told patch: 0 where they agree,
        1 where they have nothing in common.
    Differs: the paper names no distance and no head. A cosine minds no scale, which differs by a
        hundredfold between towers and between the channels of one. Nothing is told of the first
        patch of an image, and no gradient reaches the tower through what is true.
    """

    @final
    @dataclass(frozen=True, kw_only=True)
    class Config(ObjectiveConfig):
        """There is nothing to choose but the weight."""

    def __init__(self, config: Config, model: Any) -> None:
        """Builds the head.

        Raises:
            ValueError: visual tokens are no patches, or see the next one.
        """
        super().__init__()
        shape: IsthmusConfig = model.config
        _check(shape)
        rows, columns = shape.grid
        self.num_patches = rows * columns
        self.num_tokens = shape.num_image_tokens
        self.num_before, _ = shape.connector.boundaries
        self.image_token_id = shape.image_token_id
        self.head = nn.Linear(model.lm_head.in_features, shape.d_vision, device=model.device)

    def forward(self, model: Any, batch: Batch) -> Outcome:
        """Returns the mean over all patches but the first of each image; 0 without images."""
        reading = read(model, batch)
        visual = reading.hidden[batch.input_ids == self.image_token_id]
        tokens = rearrange(visual, "(i t) d -> i t d", t=self.num_tokens)
        patches = tokens[:, self.num_before :][:, : self.num_patches]
        told = self.head(patches[:, :-1]).float()
        if reading.seen is None:
            # Every process runs the head, or they wait for each other forever.
            return Outcome({"patch_prediction": told.sum()})
        true = reading.seen[:, -self.num_patches :][:, 1:].detach().float()
        return Outcome({"patch_prediction": mean_distance(told, true)})

    def num_items(self, batch: Batch) -> int:
        """Returns the patches of the batch that are told."""
        places = int((batch.input_ids == self.image_token_id).sum())
        return places // self.num_tokens * (self.num_patches - 1)


def mean_distance(
    told: Float[Tensor, "images patches d_vision"], true: Float[Tensor, "images patches d_vision"]
) -> Float[Tensor, ""]:
    """Returns one less the cosine, as a mean; 0 of no patch."""
    cosines = cosine_similarity(told, true, dim=-1)
    return (1 - cosines).sum() / max(1, cosines.numel())


def _check(config: IsthmusConfig) -> None:
    fusion, connector = config.fusion, config.connector
    if config.is_encoder_decoder or not isinstance(fusion, InTextConfig):
        what = "an encoder" if config.is_encoder_decoder else f"the fusion {fusion.kind!r}"
        raise ValueError(
            f"patch_prediction tells each patch from those before it, which a model with {what} "
            "does not do; choose a causal language model and the fusion 'inline' or "
            "'visual_expert', or leave the objective out"
        )
    if fusion.image_attention == "full":
        raise ValueError(
            f"{fusion.kind}.image_attention is 'full', so that a patch sees the next one, which "
            "patch_prediction asks it to tell; set it to 'causal', or leave the objective out"
        )
    if config.clip_frames > 1:
        raise ValueError(
            f"clip_frames is {config.clip_frames}, and patch_prediction tells the patches of "
            "single images; set it to 1, so that each frame is one, or leave the objective out"
        )
    if not connector.keeps_patches:
        raise ValueError(
            f"patch_prediction tells the next patch at each patch, but the visual tokens of the "
            f"connector {connector.kind!r}, as it is set, are no patches; choose 'linear', 'mlp' "
            "or 'glu' (without downsample), or leave the objective out"
        )


OBJECTIVE = PatchPrediction
