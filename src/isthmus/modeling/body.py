"""The body of the model: vision tower, connector, fusion and language model, without the head."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import Cache, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling, ModelOutput
from transformers.utils.generic import can_return_tuple

from isthmus.axes import Instruction, Patches
from isthmus.connectors import Connector
from isthmus.fusion import Fusion
from isthmus.fusion.base import Prompt
from isthmus.fusion.inline import embeddable
from isthmus.language.backbone import build_backbone
from isthmus.modeling.configuration_isthmus import IsthmusConfig
from isthmus.modeling.pretrained import (
    IsthmusModelOutput,
    IsthmusPreTrainedModel,
)
from isthmus.vision.fused import build_towers


class IsthmusModel(IsthmusPreTrainedModel):
    """Vision tower, connector and the body of a language model."""

    def __init__(self, config: IsthmusConfig) -> None:
        """Builds the parts with fresh weights."""
        super().__init__(config)
        self.vision_tower = build_towers(config.towers, keeps_prefix=config.vision_prefix)
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

    def get_encoder(self, modality: str | None = None) -> Any:
        """Returns the language model's encoder, or what encodes another modality."""
        if modality is None and self.config.is_encoder_decoder:
            return self.language_model.get_encoder()
        return super().get_encoder(modality)

    def get_decoder(self) -> PreTrainedModel:
        """Returns what writes: the language model's body, or the decoder in it."""
        if self.config.is_encoder_decoder:
            return self.language_model.get_decoder()
        return self.language_model

    def encode_images(self, pixel_values: Tensor) -> Patches:
        """Returns what the vision tower sees in images with values of 0 to 255."""
        return self.vision_tower(pixel_values)

    def connect(
        self,
        patches: Patches | Float[Tensor, "images seen d_vision"],
        instruction: Instruction | None = None,
    ) -> Float[Tensor, "clips tokens d_text"]:
        """Returns the visual tokens of patches, of those of a clip together.

        Args:
            patches: what the vision tower saw, or the `states` of it that the feature store kept.
            instruction: what is asked about each image, for a connector that reads it.

        Raises:
            ValueError: there is an instruction, and the connector reads none.
        """
        if isinstance(patches, Tensor):
            grid, keeps_prefix = self.config.grid, self.config.vision_prefix
            patches = (
                Patches.of_states(patches, grid)
                if keeps_prefix
                else Patches(features=patches, grid=grid)
            )
        dtype = next((p.dtype for p in self.connector.parameters()), patches.features.dtype)
        patches = patches.to(dtype).as_clips(self.config.clip_frames)
        if instruction is None:
            return self.connector(patches)
        if self.config.connector.instruction_side is None:
            raise ValueError(
                f"an instruction came with the images, but the connector "
                f"{self.config.connector.kind!r} reads none as it is set; leave out qformer_* "
                "inputs, or set qformer.text"
            )
        return self.connector(patches, instruction)

    def get_image_features(
        self,
        pixel_values: Tensor,
        qformer_input_ids: Int[Tensor, "images asked"] | None = None,
        qformer_attention_mask: Int[Tensor, "images asked"] | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPooling:
        """Returns the visual tokens of images, as `pooler_output`.

        `generate` calls this once, before the first token, and drops the pixels.

        Args:
            pixel_values: images of the whole batch in reading order, values of 0 to 255.
            qformer_input_ids: what is asked about each image, in the connector's own vocabulary.
            qformer_attention_mask: 1 at its words.
            **kwargs: of transformers' contract; nothing depends on them.
        """
        patches = self.encode_images(pixel_values)
        asked = instruction_of(qformer_input_ids, qformer_attention_mask)
        return BaseModelOutputWithPooling(
            last_hidden_state=patches.states, pooler_output=self.connect(patches, asked)
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
        view_index: Int[Tensor, " views"] | None = None,
        patch_features: Float[Tensor, "images seen d_vision"] | None = None,
        mm_encoder_outputs: dict[str, Any] | None = None,
        qformer_input_ids: Int[Tensor, "images asked"] | None = None,
        qformer_attention_mask: Int[Tensor, "images asked"] | None = None,
        segments: Int[Tensor, "batch seq"] | None = None,
        encoder_outputs: ModelOutput | None = None,
        **kwargs: Any,
    ) -> IsthmusModelOutput:
        """Returns the language model's hidden states; of its decoder, where it has one.

        Args:
            input_ids: token ids, one placeholder per visual token.
            attention_mask: 1 at real positions; or a mask made by `generate`.
            position_ids: positions of the tokens, where they are not simply counted.
            past_key_values: keys and values of earlier positions.
            inputs_embeds: embedded text, instead of token ids; no images then.
            pixel_values: images of the whole batch in reading order, values of 0 to 255.
            view_index: which of them is shown at each place, where one is shown at several.
            patch_features: the same images as the vision tower saw them.
            mm_encoder_outputs: the same images as visual tokens, under the key `image`.
            qformer_input_ids: what is asked about each image, in the connector's own vocabulary.
            qformer_attention_mask: 1 at its words.
            segments: which of the samples packed into one row each position belongs to, where
                there are several.
            encoder_outputs: what an encoder made of all of these, instead of them.
            **kwargs: passed on to the language model; `decoder_input_ids` among them, where it has
                a decoder.

        Raises:
            ValueError: inputs are given in two forms, or images and placeholders do not match.
        """
        visual = None
        told: dict[str, Any] = {"attention_mask": attention_mask}
        if encoder_outputs is None:
            visual, told = self._read(
                input_ids,
                inputs_embeds,
                self._visual_tokens(
                    pixel_values,
                    patch_features,
                    mm_encoder_outputs,
                    instruction_of(qformer_input_ids, qformer_attention_mask),
                    view_index=view_index,
                ),
                past_key_values,
                attention_mask=attention_mask,
                position_ids=position_ids,
                segments=segments,
            )
        if self.config.is_encoder_decoder:
            if encoder_outputs is None:
                encoder_outputs = self.get_encoder()(return_dict=True, **told)
                self.fusion.check(told)
            told = {"attention_mask": attention_mask, "encoder_outputs": encoder_outputs}
        outputs = self.language_model(
            past_key_values=past_key_values, return_dict=True, **told, **kwargs
        )
        self.fusion.check(told)
        return IsthmusModelOutput(
            last_hidden_state=outputs.last_hidden_state,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.get("hidden_states"),
            attentions=outputs.get("attentions"),
            image_hidden_states=visual,
            encoder_last_hidden_state=outputs.get("encoder_last_hidden_state"),
        )

    def _read(
        self,
        input_ids: Tensor | None,
        inputs_embeds: Tensor | None,
        visual: Tensor | None,
        past_key_values: Cache | None,
        *,
        attention_mask: Any,
        position_ids: Tensor | None,
        segments: Tensor | None,
    ) -> tuple[Tensor | None, dict[str, Any]]:
        """Returns the visual tokens, and what the language model is told of text and images."""
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give input_ids or inputs_embeds: exactly one of them is needed")
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
        return visual, told

    def _visual_tokens(
        self,
        pixel_values: Tensor | None,
        patch_features: Tensor | None,
        mm_encoder_outputs: dict[str, Any] | None,
        instruction: Instruction | None = None,
        *,
        view_index: Tensor | None = None,
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
            return self.connect(patch_features, instruction)
        if pixel_values is None:
            return None
        patches = self.encode_images(pixel_values)
        if view_index is not None:
            patches = patches.at(view_index)
        return self.connect(patches, instruction)

    def _no_visual_tokens(self) -> Tensor:
        """Returns the visual tokens of no image, through every part that is trained.

        With several processes each must run the same trainable modules, or they wait for each
        other forever, so a training batch without images takes this way.
        """
        if any(parameter.requires_grad for parameter in self.vision_tower.parameters()):
            # Towers cannot run on no image: a black one runs, and nothing of it is used.
            width, height = self.config.resize.size
            black = torch.zeros(1, 3, height, width, device=self.device)
            return self.connect(self.encode_images(black).states[:0])
        rows, columns = self.config.grid
        nothing = torch.zeros(0, rows * columns, self.config.d_vision, device=self.device)
        return self.connect(nothing)

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


def instruction_of(
    input_ids: Int[Tensor, "images asked"] | None,
    attention_mask: Int[Tensor, "images asked"] | None,
) -> Instruction | None:
    """Returns what is asked about each image, None where nothing is."""
    if input_ids is None:
        return None
    mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
    return Instruction(input_ids=input_ids, attention_mask=mask)


def build_fusion(config: IsthmusConfig, language_model: Any) -> Fusion:
    """Returns the fusion of a configuration, built around a language model."""
    return config.fusion.build(language_model, boundaries=config.connector.boundaries)


def _said(embeds: Tensor | None, **told: Any) -> dict[str, Any]:
    # Families that count positions themselves do not know the argument.
    return {"inputs_embeds": embeds, **{n: value for n, value in told.items() if value is not None}}


def build_connector(config: IsthmusConfig, language_model: Any) -> Connector:
    """Returns a fresh connector between the tower of a configuration and a language model."""
    return config.connector.build(
        d_vision=config.d_vision,
        # Not config.hidden_size: some families embed at another width.
        d_text=config.fusion.d_tokens(language_model.get_input_embeddings().embedding_dim),
        grid=config.grid,
    )
