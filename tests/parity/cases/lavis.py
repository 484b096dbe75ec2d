"""The Q-Former of LAVIS, in every pass of BLIP-2's first stage."""

import torch
from einops import repeat
from torch.nn.functional import cross_entropy

from isthmus.axes import IGNORED_LABEL
from isthmus.connectors._qformer_text import PADDING_ID, LanguageHead
from isthmus.connectors.qformer import QFormer
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


CASES = {
    "lavis.models.blip2_models.Qformer.BertLMHeadModel (+ query_tokens of Blip2Qformer)": _qformer
}
