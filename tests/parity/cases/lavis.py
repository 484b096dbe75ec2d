"""The Q-Former of LAVIS, in every pass of BLIP-2's first stage, and that stage's losses."""

import torch
from einops import repeat
from torch.nn.functional import cross_entropy

from isthmus.axes import IGNORED_LABEL, Patches
from isthmus.connectors._qformer_text import PADDING_ID, LanguageHead
from isthmus.connectors.qformer import QFormer
from isthmus.modeling.alignment import Texts
from isthmus.modeling.configuration_alignment import IsthmusAlignmentConfig
from isthmus.modeling.modeling_alignment import IsthmusForAlignment
from isthmus.objectives._captioning import captioning_loss
from isthmus.objectives._contrastive import compare, contrastive_loss
from isthmus.objectives._matching import Negatives, matching_loss, negative_weights
from isthmus.objectives._passes import FalseImages, Packed
from isthmus.shipping.importers import lavis
from tests.parity.cases._connector import gradients
from tests.parity.cases._qformer import filled, joint
from tests.parity.golden import Computed, Golden

LABEL_SMOOTHING = 0.1


def _qformer(golden: Golden) -> Computed:
    inputs = golden.inputs
    patches = inputs["image_embeds"].clone().requires_grad_()
    config = lavis.connector(golden.arguments["bert_config"], has_text=True)
    connector = QFormer(config, d_vision=patches.shape[-1], d_text=1, grid=(1, 1)).eval()
    # The layout keeps both under one roof.
    head = LanguageHead(config.text.vocab_size, config.d_hidden, norm_eps=config.norm_eps)
    connector.add_module("head", head)
    filled(connector, golden, lavis.QFORMER, absent={"patch_norm", "projection"})

    body, num_queries = connector.body, config.num_queries
    image = body.read(patches)
    queries = repeat(connector.queries, "q d -> b q d", b=len(patches))
    image_only, past = body(queries, num_queries=num_queries, image=image)
    padded, _ = body(
        queries,
        num_queries=num_queries,
        image=image,
        patch_mask=inputs["image_atts_padded"].bool(),
    )

    words = inputs["text_atts"]
    text = connector.text(inputs["input_ids"])
    text_only, _ = body(text, num_queries=0, mask=words.bool()[:, None])
    multimodal, _ = body(
        torch.cat([queries, text], dim=1),
        num_queries=num_queries,
        mask=joint(num_queries, words),
        image=image,
    )

    # Captions go on from the queries: each word sees all of them, and no later word.
    captions = inputs["decoder_input_ids"]
    length = captions.shape[1]
    earlier = torch.ones(length, num_queries + length, dtype=torch.bool).tril(num_queries)
    captioned, _ = body(
        connector.text(captions),
        num_queries=0,
        mask=joint(num_queries, words) & earlier,
        past=past,
    )
    logits = head(captioned, connector.text.words.weight)
    labels = captions.masked_fill(captions == PADDING_ID, IGNORED_LABEL)
    loss = cross_entropy(
        logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), label_smoothing=LABEL_SMOOTHING
    )

    everything = torch.cat(
        [rows.flatten(0, 1) for rows in (image_only, text_only, multimodal, captioned)]
    )
    keys, values = past[0]
    outputs = {
        "everything": everything,
        "image_only": image_only,
        "image_only_padded": padded,
        "text_only": text_only,
        "multimodal": multimodal,
        "itg_hidden": captioned,
        "itg_logits": logits,
        "itg_loss": loss[None],
        "past_key_layer0": keys,
        "past_value_layer0": values,
    }
    return Computed(
        {name: value.detach() for name, value in outputs.items()},
        gradients(golden, everything, connector, lavis.QFORMER, {"image_embeds": patches}),
    )


def _first_stage(golden: Golden) -> Computed:
    inputs, arguments = golden.inputs, golden.arguments
    features = inputs["image_features"].clone().requires_grad_()
    patches = Patches(features=features, grid=(1, features.shape[1]))
    config = IsthmusAlignmentConfig(
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": features.shape[-1],
            "num_attention_heads": 1,
        },
        qformer_config=lavis.connector(arguments["bert_config"], has_text=True).to_dict(),
        d_embedding=arguments["embed_dim"],
        max_caption_tokens=arguments["max_txt_len"],
        cls_token_id=2,
        bos_token_id=arguments["bert_config"]["vocab_size"] - 1,
        eos_token_id=3,
    )
    with torch.device("meta"):
        model = IsthmusForAlignment(config)
    model.vision_tower = torch.nn.Identity()
    own = model.state_dict()
    weights = {
        name: value.clone().reshape(own[name].shape)
        for name, value in lavis.FIRST_STAGE.to_ours(golden.weights).items()
    }
    model.load_state_dict(weights, assign=True)
    model.requires_grad_(True).eval()

    texts = Texts(input_ids=inputs["input_ids"], attention_mask=inputs["text_atts"])
    written = texts.begun_by(config.bos_token_id)
    passes = Packed(model, patches, texts)
    found = passes.compare(written)
    alike = compare(
        model.image_embeds(found.queries),
        model.text_embeds(found.texts),
        model.temperature,
        [len(texts)],
        gradient=False,
    )
    same = torch.eye(len(texts)).bool()
    same_image = inputs["image_id"][:, None] == inputs["image_id"]
    itc, itc_by_id = (
        contrastive_loss(alike, each, label_smoothing=LABEL_SMOOTHING)
        for each in (same, same_image)
    )
    negatives = Negatives(
        images=inputs["negative_image"],
        texts=inputs["negative_text"],
        exist=torch.ones(len(texts)).bool(),
    )
    itm, _ = matching_loss(
        passes.match(FalseImages(numbers=negatives.images), texts[negatives.texts]), negatives
    )
    assert found.captions is not None
    itg = captioning_loss(model, found.captions, written, label_smoothing=LABEL_SMOOTHING).loss
    loss = itc + itm + itg
    outputs = {
        "loss": loss[None],
        "loss_itc": itc[None],
        "loss_itc_image_id": itc_by_id[None],
        "loss_itm": itm[None],
        "loss_itg": itg[None],
        "weights_negative_image": negative_weights(alike.text_to_image, same),
        "weights_negative_text": negative_weights(alike.image_to_text, same),
        "weights_negative_image_image_id": negative_weights(alike.text_to_image, same_image),
        "weights_negative_text_image_id": negative_weights(alike.image_to_text, same_image),
    }
    return Computed(
        {name: value.detach() for name, value in outputs.items()},
        gradients(golden, loss[None], model, lavis.FIRST_STAGE, {"image_features": features}),
    )


CASES = {
    "lavis.models.blip2_models.Qformer.BertLMHeadModel (+ query_tokens of Blip2Qformer)": _qformer,
    "lavis.models.blip2_models.blip2_qformer.Blip2Qformer.forward": _first_stage,
}
