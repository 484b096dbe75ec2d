"""The model that answers: the body and the language model's head, as transformers expects it."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import Cache, GenerationMixin
from transformers.modeling_outputs import BaseModelOutputWithPooling, ModelOutput
from transformers.modeling_utils import slice_logits_to_keep
from transformers.utils.generic import can_return_tuple

from isthmus.axes import IGNORED_LABEL, Patches
from isthmus.fusion._layout import positions_of
from isthmus.language.backbone import load_language
from isthmus.language.cross_entropy import next_token_loss
from isthmus.language.head import HeadArithmetic, build_head
from isthmus.modeling.body import (
    IsthmusModel,
    build_connector,
    build_fusion,
    instruction_of,
)
from isthmus.modeling.configuration_isthmus import IsthmusConfig
from isthmus.modeling.parts import ModelPart, split
from isthmus.modeling.pretrained import (
    IsthmusOutput,
    IsthmusPreTrainedModel,
)
from isthmus.modeling.weights import readable_weights
from isthmus.vision.choice import TowerChoice
from isthmus.vision.fused import joined


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
        beside: Sequence[TowerChoice] = (),
        dtype: torch.dtype | None = None,
        four_bit: bool = False,
        **choices: Any,
    ) -> "IsthmusForConditionalGeneration":
        """Joins pretrained vision towers and a pretrained language model by a fresh connector.

        Args:
            vision: local folder or hub id of a vision tower, or of a model that holds one.
            language: local folder or hub id of a language model.
            beside: further towers, whose patches stand beside those of the first.
            dtype: of all weights; float32 by default.
            four_bit: quantise the language model's linear layers to four bits, on a GPU.
            **choices: connector, fusion and whatever else `IsthmusConfig.from_towers` takes.

        Raises:
            ValueError: a part cannot be used, its weights are damaged, or the language model's
                logits would change.
        """
        config = IsthmusConfig.from_towers(
            vision=vision, language=language, beside=beside, **choices
        )
        names = [vision, *(tower.name for tower in beside)]
        return cls.join(config, vision=names, language=language, dtype=dtype, four_bit=four_bit)

    @classmethod
    def join(
        cls,
        config: IsthmusConfig,
        *,
        vision: Sequence[str],
        language: str,
        dtype: torch.dtype | None = None,
        four_bit: bool = False,
    ) -> "IsthmusForConditionalGeneration":
        """Returns the model of a configuration with the weights of its towers.

        Args:
            config: of the model.
            vision: local folder or hub id of each vision tower, in the configuration's order.
            language: local folder or hub id of the language model.
            dtype: of all weights; float32 by default.
            four_bit: quantise the language model's linear layers to four bits, on a GPU.

        Raises:
            ValueError: a part's weights are damaged, or the language model's logits would change.
        """
        dtype = dtype or torch.float32
        with torch.device("meta"):
            model = cls(config)
        with readable_weights(language):
            parts = load_language(language, dtype=dtype, four_bit=four_bit)
        model.model.language_model, model.lm_head = parts.backbone, parts.head
        towers = []
        for name, tower in zip(vision, config.towers, strict=True):
            with readable_weights(name):
                towers.append(tower.load(name, dtype=dtype, keeps_prefix=config.vision_prefix))
        model.model.vision_tower = joined(towers, config.towers)
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

    def get_image_features(
        self, pixel_values: Tensor, *asked: Tensor, **kwargs: Any
    ) -> BaseModelOutputWithPooling:
        """Returns the visual tokens of images, as `pooler_output`; see `IsthmusModel`."""
        return self.model.get_image_features(pixel_values, *asked, **kwargs)

    def logits_of(self, hidden: Float[Tensor, "*rows d_hidden"]) -> Float[Tensor, "*rows vocab"]:
        """Returns the logits of hidden states, as the language model's own class gives them."""
        return self._arithmetic.logits(hidden, self.lm_head)

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
        labels: Int[Tensor, "batch targets"] | None = None,
        decoder_input_ids: Int[Tensor, "batch targets"] | None = None,
        encoder_outputs: ModelOutput | None = None,
        num_items_in_batch: int | Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        mm_encoder_outputs: dict[str, Any] | None = None,
        qformer_input_ids: Int[Tensor, "images asked"] | None = None,
        qformer_attention_mask: Int[Tensor, "images asked"] | None = None,
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
            view_index: which of them is shown at each place, where one is shown at several.
            patch_features: the same images as the vision tower saw them.
            labels: token ids where the loss is taken, -100 elsewhere; not shifted. Of a language
                model with a decoder, what it is to write.
            decoder_input_ids: what a decoder reads; follows from the labels when they are given.
            encoder_outputs: what the encoder made of text and images, instead of them.
            num_items_in_batch: what the summed loss is divided by; by default the supervised
                tokens of this batch.
            logits_to_keep: how many last positions to give logits for (0: all), or which.
            mm_encoder_outputs: the same images as visual tokens, under the key `image`.
            qformer_input_ids: what is asked about each image, in the connector's own vocabulary.
            qformer_attention_mask: 1 at its words.
            use_cache: whether keys and values are kept; not when labels are given.
            **kwargs: passed on to the language model.

        Raises:
            ValueError: inputs are given in two forms, or images and placeholders do not match.
        """
        if use_cache is None and labels is not None:
            use_cache = False
        if self.config.is_encoder_decoder:
            if decoder_input_ids is None and labels is not None:
                decoder_input_ids = self.prepare_decoder_input_ids_from_labels(labels)
            kwargs |= {"decoder_input_ids": decoder_input_ids, "encoder_outputs": encoder_outputs}
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            pixel_values=pixel_values,
            view_index=view_index,
            patch_features=patch_features,
            mm_encoder_outputs=mm_encoder_outputs,
            qformer_input_ids=qformer_input_ids,
            qformer_attention_mask=qformer_attention_mask,
            use_cache=use_cache,
            **kwargs,
        )
        loss = logits = None
        hidden = outputs.last_hidden_state
        if labels is None:
            logits = self.logits_of(slice_logits_to_keep(hidden, logits_to_keep))
        else:
            items = num_items_in_batch
            shifted = self.config.is_encoder_decoder
            loss = next_token_loss(
                hidden, labels, self.logits_of, num_items=items, shifted=shifted
            ).loss
        return IsthmusOutput(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            image_hidden_states=outputs.image_hidden_states,
            encoder_last_hidden_state=outputs.encoder_last_hidden_state,
        )

    def prepare_decoder_input_ids_from_labels(
        self, labels: Int[Tensor, "batch targets"]
    ) -> Int[Tensor, "batch targets"]:
        """Returns what a decoder reads while it writes the labels: each one's forerunner."""
        text = self.config.text_config
        start = text.decoder_start_token_id
        first = torch.full_like(labels[:, :1], text.pad_token_id if start is None else start)
        before = labels[:, :-1].masked_fill(labels[:, :-1] == IGNORED_LABEL, text.pad_token_id)
        return torch.cat([first, before], dim=1)

    def positions(
        self,
        input_ids: Int[Tensor, "batch seq"],
        attention_mask: Int[Tensor, "batch seq"] | None = None,
    ) -> Int[Tensor, "batch seq"]:
        """Returns the positions of a prompt, as its fusion counts them; padding counts nothing."""
        placeholders = input_ids == self.config.image_token_id
        steps = self.model.fusion.steps(placeholders, self.config.num_image_tokens)
        return positions_of(steps, attention_mask, None)

    def _prepare_position_ids_for_generation(
        self, inputs_tensor: Tensor, model_kwargs: dict[str, Any]
    ) -> Tensor:
        """Counts as the fusion does; words that follow go on from the last position."""
        stock: Any = super()
        ids = model_kwargs.get("input_ids", inputs_tensor)
        mask = model_kwargs.get("attention_mask")
        is_whole = not ids.is_floating_point() and (mask is None or mask.shape == ids.shape)
        if self.config.is_encoder_decoder or not is_whole or not ids.shape[1]:
            return stock._prepare_position_ids_for_generation(inputs_tensor, model_kwargs)
        return self.positions(ids, mask)

    def _prepare_text_encoder_decoder_kwargs_for_generation(
        self, inputs_tensor: Tensor, model_kwargs: dict[str, Any], *_: Any, **__: Any
    ) -> dict[str, Any]:
        """Runs the encoder over text and images once, before the first token is written."""
        stock: Any = super()
        model_kwargs = stock._prepare_multimodal_encoder_kwargs_for_generation(model_kwargs)
        images = model_kwargs.pop("mm_encoder_outputs", None)
        visual = self.model._visual_tokens(None, None, images)
        _, told = self.model._read(
            inputs_tensor,
            None,
            visual,
            None,
            attention_mask=model_kwargs.get("attention_mask"),
            position_ids=None,
            segments=None,
        )
        model_kwargs["encoder_outputs"] = self.model.get_encoder()(return_dict=True, **told)
        self.model.fusion.check(told)
        return model_kwargs

    @torch.no_grad()
    def generate(
        self,
        *args: Any,
        patch_features: Float[Tensor, "images seen d_vision"] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Generates tokens as transformers does; images are encoded once, before the first one.

        Args:
            *args: as of `GenerationMixin.generate`.
            patch_features: images as the vision tower saw them, instead of `pixel_values`.
            **kwargs: as of `GenerationMixin.generate`.
        """
        if patch_features is not None:
            asked = instruction_of(
                kwargs.pop("qformer_input_ids", None), kwargs.pop("qformer_attention_mask", None)
            )
            visual = self.model.connect(patch_features, asked)
            kwargs["mm_encoder_outputs"] = {
                "image": BaseModelOutputWithPooling(pooler_output=visual)
            }
        return super().generate(*args, **kwargs)  # type: ignore[misc]
