"""The Q-Former of InstructBLIP, as transformers has it."""

import torch

from isthmus.shipping.importers import instructblip
from tests.parity.cases._connector import gradients
from tests.parity.cases._qformer import loaded
from tests.parity.golden import Computed, Golden


def _qformer(golden: Golden) -> Computed:
    given = {
        name: golden.inputs[name].clone().requires_grad_()
        for name in ("query_embeds", "encoder_hidden_states")
    }
    queries, patches = given.values()
    num_queries = queries.shape[1]
    connector = loaded(
        golden,
        instructblip.connector(golden.arguments, num_queries=num_queries),
        instructblip.QFORMER,
        # The published class has neither of its own.
        absent={"queries", "projection"},
        d_vision=patches.shape[-1],
    )
    image = connector.body.read(patches)
    patch_mask = golden.inputs["encoder_attention_mask"].bool()
    rows = torch.cat([queries, connector.text(golden.inputs["input_ids"])], dim=1)
    hidden, _ = connector.body(
        rows,
        num_queries=num_queries,
        mask=golden.inputs["attention_mask"].bool()[:, None],
        image=image,
        patch_mask=patch_mask,
    )
    alone, _ = connector.body(queries, num_queries=num_queries, image=image, patch_mask=patch_mask)
    return Computed(
        {"hidden": hidden.detach(), "queries_only": alone.detach()},
        gradients(golden, hidden, connector, instructblip.QFORMER, given),
    )


CASES = {"transformers.InstructBlipQFormerModel": _qformer}
