"""The model that holds pictures and texts together: what BLIP-2's first stage trains."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import PreTrainedModel
from transformers.modeling_outputs import ModelOutput
from transformers.utils.generic import can_return_tuple

from isthmus.axes import Patches
from isthmus.connectors import Connector
from isthmus.connectors._qformer import KeysValues
from isthmus.connectors._qformer_text import LanguageHead
from isthmus.connectors.qformer import QFormer
from isthmus.modeling import alignment
from isthmus.modeling.alignment import SeenImages, Texts
from isthmus.modeling.configuration_alignment import IsthmusAlignmentConfig
from isthmus.modeling.parts import ModelPart, split
from isthmus.modeling.weights import readable_weights
from isthmus.vision.fused import build_towers, joined


@dataclass
class IsthmusAlignmentOutput(ModelOutput):
    """How alike images and texts are, and what was compared."""

    logits_per_image: Tensor | None = None
    """Similarities over the temperature. Shape: (images, batch)."""
    logits_per_text: Tensor | None = None
    """Shape: (batch, images)."""
    image_embeds: Tensor | None = None
    """Unit vectors of the queries. Shape: (images, queries, d_embedding)."""
    text_embeds: Tensor | None = None
    """Unit vectors. Shape: (batch, d_embedding)."""


class IsthmusForAlignment(PreTrainedModel):
    """Vision towers, a Q-Former with its text side, and heads that compare, match and write.

    Paper: the first stage of BLIP-2, arXiv 2301.12597, section 3.1 and figure 2.
    """

    config_class = IsthmusAlignmentConfig
    base_model_prefix = "model"
    main_input_name = "pixel_values"
    input_modalities = ["image", "text"]  # noqa: RUF012 (transformers' contract)
    supports_gradient_checkpointing = True
    _supports_sdpa = True

    def __init__(self, config: IsthmusAlignmentConfig) -> None:
        """Builds the parts with fresh weights."""
        super().__init__(config)
        self.vision_tower = build_towers(config.towers, keeps_prefix=config.vision_prefix)
        self.qformer = _build_qformer(config)
        width = config.qformer.d_hidden
        self.vision_projection = nn.Linear(width, config.d_embedding)
        self.text_projection = nn.Linear(width, config.d_embedding)
        self.itm_head = nn.Linear(width, 2)
        vocabulary = alignment.words_of(self.qformer).words.num_embeddings
        self.lm_head = LanguageHead(vocabulary, width, norm_eps=config.qformer.norm_eps)
        self.temperature = nn.Parameter(torch.tensor(config.temperature))
        self.post_init()

    @classmethod
    def join(
        cls, config: IsthmusAlignmentConfig, *, vision: list[str], dtype: torch.dtype | None = None
    ) -> "IsthmusForAlignment":
        """Returns the model of a configuration with the weights of its towers.

        Args:
            config: of the model.
            vision: local folder or hub id of each vision tower, in the configuration's order.
            dtype: of all weights; float32 by default.

        Raises:
            ValueError: a tower's weights are damaged or missing.
        """
        dtype = dtype or torch.float32
        model = cls(config).to(dtype)  # type: ignore[arg-type]  # a stub of transformers is off
        towers = []
        for name, tower in zip(vision, config.towers, strict=True):
            with readable_weights(name):
                towers.append(tower.load(name, dtype=dtype, keeps_prefix=config.vision_prefix))
        model.vision_tower = joined(towers, config.towers)
        return model.eval()

    def _init_weights(self, module: nn.Module) -> None:
        """Draws fresh weights; a Q-Former knows how to draw its own."""
        if isinstance(module, Connector):
            module.reset_parameters()
        elif module is self:
            nn.init.constant_(self.temperature, self.config.temperature)
        else:
            super()._init_weights(module)

    def parts(self) -> dict[str, ModelPart]:
        """Returns the parts by name; the heads and the temperature are one."""
        return split(
            {
                "vision_tower": [self.vision_tower],
                "connector": [self.qformer],
                "heads": [self],
            }
        )

    def get_input_embeddings(self) -> nn.Module:
        """Returns the embeddings of words."""
        return alignment.words_of(self.qformer).words

    def encode_images(self, pixel_values: Tensor) -> Patches:
        """Returns what the vision tower sees in images with values of 0 to 255."""
        return self.vision_tower(pixel_values)

    def see(self, patches: Patches | Float[Tensor, "images seen d_vision"]) -> SeenImages:
        """Returns what images answer to the queries, to be read by any of the passes.

        Args:
            patches: what the vision tower saw, or the `states` of it that the feature store kept.
        """
        if isinstance(patches, Tensor):
            patches = self.patches_of(patches)
        return alignment.see(self.qformer, patches.to(self.temperature.dtype))

    def patches_of(self, states: Float[Tensor, "images seen d_vision"]) -> Patches:
        """Returns the patches of what the feature store kept.

        Raises:
            ValueError: there are tokens before the patches, and the model reads none.
        """
        found = Patches.of_states(states, self.config.grid)
        if found.prefix is not None and not self.config.vision_prefix:
            rows, columns = self.config.grid
            raise ValueError(
                f"patch_features has {states.shape[1]} vectors for each image; expected those of "
                f"{rows} x {columns} patches, since vision_prefix is False"
            )
        return found

    def image_embeds(
        self, states: Float[Tensor, "images queries d_hidden"]
    ) -> Float[Tensor, "images queries d_embedding"]:
        """Returns the queries as unit vectors to be compared."""
        return normalize(self.vision_projection(states), dim=-1)

    def text_embeds(
        self, states: Float[Tensor, "batch seq d_hidden"]
    ) -> Float[Tensor, "batch d_embedding"]:
        """Returns the first word of each text as a unit vector to be compared."""
        return normalize(self.text_projection(states[:, 0]), dim=-1)

    def matching_logits(
        self, states: Float[Tensor, "batch queries d_hidden"]
    ) -> Float[Tensor, "batch 2"]:
        """Returns how much queries that saw a text speak against and for a match."""
        return self.itm_head(states).mean(dim=1)

    def word_logits(self, states: Float[Tensor, "*rows d_hidden"]) -> Float[Tensor, "*rows vocab"]:
        """Returns the logits of the next word."""
        return self.lm_head(states, alignment.words_of(self.qformer).words.weight)

    def match(self, seen: SeenImages, texts: Texts) -> Float[Tensor, "batch 2"]:
        """Returns the logits of pairs: [no match, match].

        Args:
            seen: the image of each pair.
            texts: the text of each pair.
        """
        return self.matching_logits(alignment.pairs(self.qformer, seen, texts))

    def queries(
        self, seen: SeenImages
    ) -> tuple[Float[Tensor, "images queries d_hidden"], list[KeysValues]]:
        """Returns the queries of images, and what captions of them go on from."""
        return alignment.queries(self.qformer, seen)

    @can_return_tuple
    def forward(
        self,
        input_ids: Int[Tensor, "batch seq"],
        attention_mask: Int[Tensor, "batch seq"] | None = None,
        pixel_values: Tensor | None = None,
        patch_features: Float[Tensor, "images seen d_vision"] | None = None,
        **kwargs: Any,
    ) -> IsthmusAlignmentOutput:
        """Compares every image with every text.

        Args:
            input_ids: of texts, in the Q-Former's vocabulary.
            attention_mask: 1 at their words, 0 at padding on the right.
            pixel_values: images, values of 0 to 255.
            patch_features: the same images as the vision tower saw them.
            **kwargs: of transformers' contract; nothing depends on them.

        Raises:
            ValueError: the images are given in both forms, or in none.
        """
        if (pixel_values is None) == (patch_features is None):
            raise ValueError("give pixel_values or patch_features: exactly one of them is needed")
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        given = Texts(input_ids=input_ids, attention_mask=mask)
        seen = patch_features if pixel_values is None else self.encode_images(pixel_values)
        assert seen is not None
        states, _ = self.queries(self.see(seen))
        images = self.image_embeds(states)
        words = self.text_embeds(alignment.texts(self.qformer, given))
        logits = similarity(images, words) / self.temperature
        return IsthmusAlignmentOutput(
            logits_per_image=logits,
            logits_per_text=logits.T,
            image_embeds=images,
            text_embeds=words,
        )

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoModel") -> None:
        """Does nothing: checkpoints carry the shim, never a copy of this file."""


def similarity(
    images: Float[Tensor, "images queries d_embedding"], words: Float[Tensor, "batch d_embedding"]
) -> Float[Tensor, "images batch"]:
    """Returns the cosine of each text with the query of each image that is nearest to it."""
    return torch.einsum("iqd,td->itq", images, words).amax(dim=-1)


def _build_qformer(config: IsthmusAlignmentConfig) -> QFormer:
    qformer = config.qformer
    return qformer.build(  # type: ignore[return-value]  # its kind is known
        d_vision=config.d_vision, d_text=qformer.d_hidden, grid=config.grid
    )
