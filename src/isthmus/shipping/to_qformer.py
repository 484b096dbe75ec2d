"""The Q-Former of a model as a `Blip2QFormerModel`, with what lies around it in a file beside it.

It holds no vision tower, so the Q-Former may have been trained on any.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import Blip2QFormerConfig, Blip2QFormerModel

from isthmus.connectors._qformer_names import BESIDE, BESIDE_FILE, QFORMER
from isthmus.connectors.qformer import QFormer
from isthmus.modeling.modeling_alignment import IsthmusForAlignment
from isthmus.modeling.modeling_isthmus import IsthmusForConditionalGeneration
from isthmus.shipping.importers import blip2
from isthmus.shipping.to_transformers import DROPPED_HEADS, HEADS


def export_qformer(
    model: IsthmusForConditionalGeneration | IsthmusForAlignment, folder: Path
) -> tuple[str, ...]:
    """Writes the folder of a `Blip2QFormerModel`; returns what a user should know.

    Queries, text embeddings, projections and the norm of the patches go into a file beside it, by
    the names that the whole models of transformers have for them.

    Args:
        model: whose Q-Former is written.
        folder: that is written.

    Raises:
        ValueError: the model has no Q-Former.
    """
    aligns = isinstance(model, IsthmusForAlignment)
    qformer: Any = model.qformer if aligns else model.model.connector
    if not isinstance(qformer, QFormer):
        raise ValueError(
            f"this model's connector is {qformer.config.kind!r}; expected 'qformer'; share the "
            "isthmus folder itself"
        )
    config = Blip2QFormerConfig(**blip2.settings(qformer.config, d_vision=model.config.d_vision))
    with torch.device("meta"):
        stock = Blip2QFormerModel(config)
    body = {n: v for n, v in qformer.state_dict().items() if n.startswith("body.")}
    stock.load_state_dict(QFORMER.to_theirs(body), assign=True)
    stock.save_pretrained(folder)
    beside = BESIDE.to_theirs({n: v for n, v in qformer.state_dict().items() if n not in body})
    beside["query_tokens"] = beside["query_tokens"][None]
    notes = [f"{BESIDE_FILE} holds what stands around the Q-Former: {_kinds(beside)}"]
    if aligns:
        beside |= {n: v for n, v in model.state_dict().items() if n.startswith(HEADS)}
        temperature: Any = model.temperature
        notes.append(DROPPED_HEADS.format(temperature=temperature.item()))
    save_file({n: v.contiguous() for n, v in beside.items()}, folder / BESIDE_FILE)
    return tuple(notes)


def _kinds(names: dict[str, torch.Tensor]) -> str:
    return ", ".join(sorted({name.split(".")[0] for name in names}))
