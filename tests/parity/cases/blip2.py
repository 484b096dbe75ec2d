"""The Q-Former of BLIP-2, as transformers has it."""

from isthmus.shipping.importers import blip2
from tests.parity.cases._connector import gradients
from tests.parity.cases._qformer import loaded
from tests.parity.golden import Computed, Golden

# The published class has no queries, words and projection of its own.
ABSENT = {"queries", "projection"}


def _qformer(golden: Golden) -> Computed:
    given = {
        name: golden.inputs[name].clone().requires_grad_()
        for name in ("query_embeds", "encoder_hidden_states")
    }
    states, patches = given.values()
    num_queries = golden.arguments["query_length"]
    config = blip2.connector(golden.arguments, num_queries=num_queries)
    absent = ABSENT | ({"text"} if config.text else set())
    connector = loaded(golden, config, blip2.QFORMER, absent=absent, d_vision=patches.shape[-1])
    body = connector.body
    image = body.read(patches)
    queries = states[:, :num_queries]
    alone, _ = body(queries, num_queries=num_queries, image=image)
    if config.text is None:
        seen = golden.inputs["encoder_attention_mask"].bool()
        hidden, _ = body(queries, num_queries=num_queries, image=image, patch_mask=seen)
        outputs = {"hidden": hidden, "no_mask": alone}
    else:
        mask = golden.inputs["attention_mask"].bool()[:, None]
        hidden, _ = body(states, num_queries=num_queries, mask=mask, image=image)
        text, _ = body(states[:, num_queries:], num_queries=0, mask=mask[..., num_queries:])
        outputs = {"hidden": hidden, "queries_only": alone, "text_only": text}
    return Computed(
        {name: value.detach() for name, value in outputs.items()},
        gradients(golden, hidden, connector, blip2.QFORMER, given),
    )


CASES = {"transformers.Blip2QFormerModel": _qformer}
