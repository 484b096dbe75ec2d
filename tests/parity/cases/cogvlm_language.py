"""The language model of CogVLM and CogVLM2 with its visual expert: a layer, and a whole model."""

from typing import Any

import torch
from torch import Tensor
from transformers import AutoModel, DynamicCache

from isthmus import IsthmusConfig, IsthmusForConditionalGeneration
from isthmus.fusion._layers import ROUTE
from isthmus.fusion._layout import as_prepared, causal_mask, positions_of, shared_steps
from isthmus.fusion.base import Prompt
from isthmus.shipping.importers import cogvlm, cogvlm_language, cogvlm_vision
from tests.parity.golden import Computed, Golden

BOUNDARIES = (1, 1)


def _image_length(types: Tensor) -> int:
    return int(types.sum(1).max())


def _positions(types: Tensor, real: Tensor) -> Tensor:
    return positions_of(shared_steps(types == 1, _image_length(types), BOUNDARIES), real, None)


def _layer(golden: Golden) -> Computed:
    inputs, config = golden.inputs, golden.arguments["config"]
    text = cogvlm_language.text_config(config, rope_base=golden.arguments["rope_base"])
    text._attn_implementation = "eager"
    body = AutoModel.from_config(text).eval()
    fusion = cogvlm_language.fusion(golden.weights).build(body, boundaries=BOUNDARIES)
    layer = body.layers[0]
    apart = cogvlm_language.taken_apart(golden.weights, text)
    layer.load_state_dict(_below(cogvlm_language.LAYER.to_ours(_above(apart)), "layer."))

    types, real = inputs["token_type_ids"], inputs["attention_mask"]
    states = inputs["hidden_states"].clone().requires_grad_()
    length = _image_length(types)
    images = int((types.sum(1) > 0).sum())
    visual = states.new_zeros(images, length, states.shape[-1])
    prompt = Prompt(embeds=states, placeholders=types == 1, visual=visual, attention_mask=real)
    _, told = fusion(prompt)
    route = told[ROUTE]
    positions = inputs["position_ids"]
    given = {
        "attention_mask": as_prepared(
            causal_mask(real, None), kv_length=real.shape[1], kernel="eager", dtype=states.dtype
        ),
        "position_embeddings": body.rotary_emb(states, positions),
        "position_ids": positions,
    }
    hidden = layer(states, **given, **{ROUTE: route})
    chosen = torch.zeros(types.numel(), dtype=torch.bool).index_fill(0, route.visual, True)
    layer.current.roles = route
    attention, _ = layer.self_attn(hidden_states=layer.input_layernorm(states), **given)
    mlp = layer.mlp(layer.post_attention_layernorm(states))
    layer.current.roles = None
    shown = hidden * real[..., None]
    (shown * golden.cotangent).sum().backward()
    grads = {f"layer.{n}": p.grad for n, p in layer.named_parameters() if p.grad is not None}
    theirs = cogvlm_language.put_together(cogvlm_language.LAYER.to_theirs(grads))
    return Computed(
        {
            "hidden": hidden.detach(),
            "hidden_real": shown.detach(),
            "attention": attention.detach(),
            "mlp": mlp.detach(),
            "position_ids": _positions(types, real),
            "vision_mask": chosen.view_as(types),
        },
        {**_below(theirs, "layer."), "inputs/hidden_states": states.grad},
    )


def _above(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"layer.{name}": value for name, value in weights.items()}


def _below(weights: dict[str, Tensor], prefix: str) -> dict[str, Any]:
    return {n.removeprefix(prefix): v for n, v in weights.items() if n.startswith(prefix)}


def _model(golden: Golden) -> Computed:
    inputs, config = golden.inputs, golden.arguments["config"]
    base = golden.arguments.get("rope_base", cogvlm_language.ROPE_BASE)
    text = cogvlm_language.text_config(config, rope_base=base)
    tower = cogvlm_vision.tower(config["vision_config"])
    adapter = _below(golden.weights, "model.vision.")
    adapter = {n: v for n, v in adapter.items() if not n.startswith(("patch_", "transformer."))}
    marker = text.vocab_size
    model = IsthmusForConditionalGeneration(
        IsthmusConfig(
            vision_config=tower,
            text_config=text,
            connector_config=cogvlm.adapter(config, adapter).to_dict(),
            visual_fusion_config=cogvlm_language.fusion(golden.weights).to_dict(),
            vision_layer=-1,
            image_token_id=marker,
            image_size=tower.image_size,
            # The pixels are normalised already.
            image_mean=[0.0] * 3,
            image_std=[1 / 255] * 3,
        )
    ).eval()
    others = {
        n: v
        for n, v in golden.weights.items()
        if not n.startswith("model.vision.") and n != "lm_head.weight"
    }
    tower_weights = {n: v for n, v in golden.weights.items() if n.startswith("model.vision.")}
    tower_weights = {n: v for n, v in tower_weights.items() if n[13:] not in adapter}
    apart = cogvlm_language.taken_apart(others, text)
    own = model.state_dict()
    loaded = {
        **_under("model.vision_tower.encoder", cogvlm_vision.TOWER.to_ours(tower_weights)),
        **_under("model.connector", cogvlm.ADAPTER.to_ours(adapter)),
        **_under("model.language_model", _language_names(cogvlm_language.MODEL.to_ours(apart))),
        "lm_head.weight": golden.weights["lm_head.weight"],
    }
    model.load_state_dict({n: v.reshape(own[n].shape) for n, v in loaded.items()})

    types, real = inputs["token_type_ids"], inputs["attention_mask"]
    ids = torch.where(types == 1, marker, inputs["input_ids"])
    pixels = inputs["pixel_values"]
    positions = _positions(types, real)
    logits = model(input_ids=ids, attention_mask=real, pixel_values=pixels).logits
    shown = logits * real[..., None]
    (shown * golden.cotangent).sum().backward()
    with torch.no_grad():
        cache = DynamicCache(config=text)
        model(input_ids=ids[:1], pixel_values=pixels[:1], past_key_values=cache, use_cache=True)
        after = positions[:1, -1:] + 1
        step = model(input_ids=inputs["next_ids"], position_ids=after, past_key_values=cache).logits
        words = model(input_ids=inputs["text_ids"]).logits
        seen = model.get_image_features(pixels).pooler_output
    grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    language = _below(grads, "model.language_model.")
    theirs = {
        **cogvlm_vision.TOWER.to_theirs(_below(grads, "model.vision_tower.encoder.")),
        **_under("model.vision", cogvlm.ADAPTER.to_theirs(_below(grads, "model.connector."))),
        **cogvlm_language.put_together(cogvlm_language.MODEL.to_theirs(_published_names(language))),
    }
    shaped = {n: v.reshape(golden.weights[n].shape) for n, v in theirs.items()}
    return Computed(
        {
            "logits": logits.detach(),
            "logits_real": shown.detach(),
            "position_ids": positions,
            "step_logits": step,
            "step_position_ids": after,
            "text_only_logits": words,
            "vision": seen,
        },
        shaped,
    )


def _under(prefix: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": value for name, value in weights.items()}


def _language_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix("model."): value for name, value in weights.items()}


def _published_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"model.{n}" if n.startswith("layers.") else n: v for n, v in weights.items()}


CASES = {
    "modeling_cogvlm.CogVLMDecoderLayer": _layer,
    "modeling_cogvlm.CogVLMForCausalLM": _model,
}
