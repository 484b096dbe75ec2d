"""The model: vision tower, connector and language model in a row, as transformers expects it."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import AutoModel, Cache, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.modeling_utils import slice_logits_to_keep
from transformers.utils.generic import can_return_tuple

from isthmus.axes import Patches
from isthmus.connectors import Connector, ConnectorConfig
from isthmus.fusion import Fusion, FusionConfig
from isthmus.fusion.base import Prompt
from isthmus.fusion.inline import embeddable
from isthmus.language.backbone import build_backbone, load_language
from isthmus.language.cross_entropy import next_token_loss
from isthmus.language.head import HeadArithmetic, build_head
from isthmus.language.tokenizer import IMAGE_TOKEN
from isthmus.modeling.configuration_isthmus import PENULTIMATE, IsthmusConfig
from isthmus.modeling.parts import ModelPart, split
from isthmus.modeling.pretrained import (
    IsthmusModelOutput,
    IsthmusOutput,
    IsthmusPreTrainedModel,
)
from isthmus.modeling.weights import readable_weights
from isthmus.vision.tower import VisionTower, load_tower


class IsthmusModel(IsthmusPreTrainedModel):
    """Vision tower, connector and the body of a language model."""

    def __init__(self, config: IsthmusConfig) -> None:
        """Builds the parts with fresh weights."""
        super().__init__(config)
        self.vision_tower = VisionTower(
            AutoModel.from_config(config.vision_config),
            layer=config.vision_layer,
            mean=config.image_mean,
            std=config.image_std,
        )
        self.language_model = build_backbone(config.text_config)
        self.connector = build_connector(config, self.language_model)
        self.fusion = build_fusion(config, self.language_model)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Returns the language model's embedding table."""
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replaces the language model's embedding table."""
        self.language_model.set_input_embeddings(value)

    def get_decoder(self) -> PreTrainedModel:
        """Returns the language model's body."""
        return self.language_model

    def encode_images(self, pixel_values: Tensor) -> Patches:
        """Returns what the vision tower sees in images with values of 0 to 255."""
        return self.vision_tower(pixel_values)

    def connect(
        self, patches: Patches | Float[Tensor, "images patches d_vision"]
    ) -> Float[Tensor, "images tokens d_text"]:
        """Returns the visual tokens of patches, such as the feature store kept."""
        if isinstance(patches, Tensor):
            patches = Patches(features=patches, grid=self.config.grid)
        dtype = next((p.dtype for p in self.connector.parameters()), patches.features.dtype)
        return self.connector(Patches(features=patches.features.to(dtype), grid=patches.grid))

    def get_image_features(self, pixel_values: Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        """Returns the visual tokens of images, as `pooler_output`.

        `generate` calls this once, before the first token, and drops the pixels.
        """
        patches = self.encode_images(pixel_values)
        return BaseModelOutputWithPooling(
            last_hidden_state=patches.features, pooler_output=self.connect(patches)
        )

    @can_return_tuple
    def forward(
        self,
        input_ids: Int[Tensor, "batch seq"] | None = None,
        attention_mask: Tensor | dict[str, Any] | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Float[Tensor, "batch seq d_text"] | None = None,
        pixel_values: Tensor | None = None,
        patch_features: Float[Tensor, "images patches d_vision"] | None = None,
        mm_encoder_outputs: dict[str, Any] | None = None,
        segments: Int[Tensor, "batch seq"] | None = None,
        **kwargs: Any,
    ) -> IsthmusModelOutput:
        """Returns the language model's hidden states.

        Args:
            input_ids: token ids, one placeholder per visual token.
            attention_mask: 1 at real positions; or a mask made by `generate`.
            position_ids: positions of the tokens, where they are not simply counted.
            past_key_values: keys and values of earlier positions.
            inputs_embeds: embedded text, instead of token ids; no images then.
            pixel_values: images of the whole batch in reading order, values of 0 to 255.
            patch_features: the same images as the vision tower saw them.
            mm_encoder_outputs: the same images as visual tokens, under the key `image`.
            segments: which of the samples packed into one row each position belongs to, where
                there are several.
            **kwargs: passed on to the language model.

        Raises:
            ValueError: inputs are given in two forms, or images and placeholders do not match.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give input_ids or inputs_embeds: exactly one of them is needed")
        visual = self._visual_tokens(pixel_values, patch_features, mm_encoder_outputs)
        if input_ids is not None:
            if visual is None and self.training and torch.is_grad_enabled():
                visual = self._no_visual_tokens()
            told = self._fused(
                input_ids,
                visual,
                past_key_values,
                attention_mask=attention_mask,
                position_ids=position_ids,
                segments=segments,
            )
        elif visual is not None:
            raise ValueError(
                "images came with inputs_embeds, which hide where the placeholders are; give "
                "input_ids instead"
            )
        else:
            told = _said(inputs_embeds, attention_mask=attention_mask, position_ids=position_ids)
        outputs = self.language_model(
            past_key_values=past_key_values, return_dict=True, **told, **kwargs
        )
        self.fusion.check(told)
        return IsthmusModelOutput(
            last_hidden_state=outputs.last_hidden_state,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            image_hidden_states=visual,
        )

    def _visual_tokens(
        self,
        pixel_values: Tensor | None,
        patch_features: Tensor | None,
        mm_encoder_outputs: dict[str, Any] | None,
    ) -> Tensor | None:
        """Returns the visual tokens of all images, from the one form that is given, if any."""
        encoded = (mm_encoder_outputs or {}).get("image")
        forms = {
            "pixel_values": pixel_values,
            "patch_features": patch_features,
            "mm_encoder_outputs": encoded,
        }
        given = [name for name, value in forms.items() if value is not None]
        if len(given) > 1:
            raise ValueError(f"images came as {' and '.join(given)}; give one of them")
        if encoded is not None:
            return encoded.pooler_output
        if patch_features is not None:
            return self.connect(patch_features)
        return None if pixel_values is None else self.get_image_features(pixel_values).pooler_output

    def _no_visual_tokens(self) -> Tensor:
        """Returns the visual tokens of no image, through every part that is trained.

        With several processes each must run the same trainable modules, or they wait for each
        other forever, so a training batch without images takes this way.
        """
        size = self.config.image_size
        if any(parameter.requires_grad for parameter in self.vision_tower.parameters()):
            # Towers cannot run on no image: a black one runs, and nothing of it is used.
            black = torch.zeros(1, 3, size, size, device=self.device)
            return self.connect(self.encode_images(black).features[:0])
        rows, columns = self.config.grid
        width = self.config.vision_config.hidden_size
        return self.connect(torch.zeros(0, rows * columns, width, device=self.device))

    def _fused(
        self,
        input_ids: Tensor,
        visual: Tensor | None,
        cache: Cache | None,
        *,
        attention_mask: Any,
        position_ids: Tensor | None,
        segments: Tensor | None,
    ) -> dict[str, Any]:
        """Returns what the language model is told of text and images."""
        placeholders = input_ids == self.config.image_token_id
        embeds = self.get_input_embeddings()(embeddable(input_ids, placeholders))
        if visual is None:
            # The cache is asked last: a static one answers from the device.
            if input_ids.shape[1] == 1 or (cache is not None and cache.get_seq_length() > 0):
                told = _said(embeds, attention_mask=attention_mask, position_ids=position_ids)
                return told | self.fusion.recall(cache, input_ids.shape[1])
            visual = embeds.new_zeros(0, 1, embeds.shape[-1])
        prompt = Prompt(
            embeds=embeds,
            placeholders=placeholders,
            visual=visual,
            attention_mask=attention_mask,
            position_ids=position_ids,
            segments=segments,
            kv_length=cache.get_mask_sizes(input_ids.shape[1], 0)[0] if cache else None,
            kernel=self.language_model.config._attn_implementation,
        )
        fused, told = self.fusion(prompt)
        if cache is not None:
            self.fusion.remember(cache, told)
        return {"inputs_embeds": fused, **told}


class IsthmusForConditionalGeneration(IsthmusPreTrainedModel, GenerationMixin):
    """A vision-language model that answers in words."""

    _tp_plan = {"lm_head": "colwise_gather_output"}  # noqa: RUF012 (transformers' contract)

    def __init__(self, config: IsthmusConfig) -> None:
        """Builds the parts with fresh weights."""
        super().__init__(config)
        self.model = IsthmusModel(config)
        self.lm_head = build_head(config.text_config)
        self._arithmetic = HeadArithmetic.of(config.text_config)
        # Where the embedding table lies differs between families: found by identity.
        table = self.get_input_embeddings().weight
        name = next(name for name, weight in self.named_parameters() if weight is table)
        self._tied_weights_keys = {"lm_head.weight": name}
        self.post_init()

    @classmethod
    def from_towers(
        cls,
        *,
        vision: str,
        language: str,
        connector: ConnectorConfig | str = "mlp",
        fusion: FusionConfig | str = "inline",
        vision_layer: int = PENULTIMATE,
        dtype: torch.dtype | None = None,
        image_token: str = IMAGE_TOKEN,
        four_bit: bool = False,
    ) -> "IsthmusForConditionalGeneration":
        """Joins a pretrained vision tower and a pretrained language model by a fresh connector.

        Args:
            vision: local folder or hub id of a vision tower, or of a model that holds one.
            language: local folder or hub id of a causal language model.
            connector: configuration of the connector, or its kind.
            fusion: configuration of the fusion, or its kind.
            vision_layer: which layer's output is used, see `VisionTower`.
            dtype: of all weights; float32 by default.
            image_token: text of the placeholder.
            four_bit: quantise the language model's linear layers to four bits, on a GPU.

        Raises:
            ValueError: a part cannot be used, its weights are damaged, or the language model's
                logits would change.
        """
        dtype = dtype or torch.float32
        config = IsthmusConfig.from_towers(
            vision=vision,
            language=language,
            connector=connector,
            fusion=fusion,
            vision_layer=vision_layer,
            image_token=image_token,
        )
        with torch.device("meta"):
            model = cls(config)
        with readable_weights(language):
            parts = load_language(language, dtype=dtype, four_bit=four_bit)
        model.model.language_model, model.lm_head = parts.backbone, parts.head
        with readable_weights(vision):
            model.model.vision_tower = load_tower(
                vision,
                layer=vision_layer,
                mean=config.image_mean,
                std=config.image_std,
                dtype=dtype,
            )
        model.model.connector = build_connector(config, parts.backbone).to(dtype)
        model.model.fusion = build_fusion(config, parts.backbone)
        if parts.generation_config is not None:
            model.generation_config = parts.generation_config
        return model.eval()

    def parts(self) -> dict[str, ModelPart]:
        """Returns the parts by name; a fusion that brings no weights is none."""
        fusion = self.model.fusion.parts()
        has_weights = any(True for module in fusion for _ in module.parameters())
        return split(
            {
                "vision_tower": [self.model.vision_tower],
                "connector": [self.model.connector],
                "language_model": [self.model.language_model, self.lm_head],
                **({"fusion": fusion} if has_weights else {}),
            }
        )

    def get_output_embeddings(self) -> nn.Module:
        """Returns the head."""
        return self.lm_head

    def set_output_embeddings(self, value: nn.Module) -> None:
        """Replaces the head."""
        self.lm_head = value

    def encode_images(self, pixel_values: Tensor) -> Patches:
        """Returns what the vision tower sees: what the feature store keeps of an image."""
        return self.model.encode_images(pixel_values)

    def get_image_features(self, pixel_values: Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        """Returns the visual tokens of images, as `pooler_output`."""
        return self.model.get_image_features(pixel_values, **kwargs)

    def logits_of(self, hidden: Float[Tensor, "*rows d_hidden"]) -> Float[Tensor, "*rows vocab"]:
        """Returns the logits of hidden states, as the language model's own class gives them."""
        return self._arithmetic(self.lm_head(hidden))

    @can_return_tuple
    def forward(
        self,
        input_ids: Int[Tensor, "batch seq"] | None = None,
        attention_mask: Tensor | dict[str, Any] | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Float[Tensor, "batch seq d_text"] | None = None,
        pixel_values: Tensor | None = None,
        patch_features: Float[Tensor, "images patches d_vision"] | None = None,
        labels: Int[Tensor, "batch seq"] | None = None,
        num_items_in_batch: int | Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        mm_encoder_outputs: dict[str, Any] | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> IsthmusOutput:
        """Returns the loss when labels are given, and logits when they are not.

        Args:
            input_ids: token ids, one placeholder per visual token.
            attention_mask: 1 at real positions, 0 at padding on either side.
            position_ids: positions of the tokens, where they are not simply counted.
            past_key_values: keys and values of earlier positions.
            inputs_embeds: embedded text, instead of token ids; no images then.
            pixel_values: images of the whole batch in reading order, values of 0 to 255.
            patch_features: the same images as the vision tower saw them.
            labels: token ids where the loss is taken, -100 elsewhere; not shifted.
            num_items_in_batch: what the summed loss is divided by; by default the supervised
                tokens of this batch.
            logits_to_keep: how many last positions to give logits for (0: all), or which.
            mm_encoder_outputs: the same images as visual tokens, under the key `image`.
            use_cache: whether keys and values are kept; not when labels are given.
            **kwargs: passed on to the language model.

        Raises:
            ValueError: inputs are given in two forms, or images and placeholders do not match.
        """
        if use_cache is None and labels is not None:
            use_cache = False
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            pixel_values=pixel_values,
            patch_features=patch_features,
            mm_encoder_outputs=mm_encoder_outputs,
            use_cache=use_cache,
            **kwargs,
        )
        loss = logits = None
        hidden = outputs.last_hidden_state
        if labels is None:
            logits = self.logits_of(slice_logits_to_keep(hidden, logits_to_keep))
        else:
            items = num_items_in_batch
            loss = next_token_loss(hidden, labels, self.logits_of, num_items=items).loss
        return IsthmusOutput(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            image_hidden_states=outputs.image_hidden_states,
        )

    @torch.no_grad()
    def generate(
        self,
        *args: Any,
        patch_features: Float[Tensor, "images patches d_vision"] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Generates tokens as transformers does; images are encoded once, before the first one.

        Args:
            *args: as of `GenerationMixin.generate`.
            patch_features: images as the vision tower saw them, instead of `pixel_values`.
            **kwargs: as of `GenerationMixin.generate`.
        """
        if patch_features is not None:
            visual = BaseModelOutputWithPooling(pooler_output=self.model.connect(patch_features))
            kwargs["mm_encoder_outputs"] = {"image": visual}
        return super().generate(*args, **kwargs)  # type: ignore[misc]


def build_fusion(config: IsthmusConfig, language_model: Any) -> Fusion:
    """Returns the fusion of a configuration, built around a language model."""
    return config.fusion.build(language_model, boundaries=config.connector.boundaries)


def _said(embeds: Tensor | None, **told: Any) -> dict[str, Any]:
    # Families that count positions themselves do not know the argument.
    return {"inputs_embeds": embeds, **{n: value for n, value in told.items() if value is not None}}


def build_connector(config: IsthmusConfig, language_model: Any) -> Connector:
    """Returns a fresh connector between the tower of a configuration and a language model."""
    return config.connector.build(
        d_vision=config.vision_config.hidden_size,
        # Not config.hidden_size: some families embed at another width.
        d_text=config.fusion.d_tokens(language_model.get_input_embeddings().embedding_dim),
        grid=config.grid,
    )
