"""The Q-Former of a model as a `Blip2QFormerModel`, with what lies around it in a file beside it.

It holds no vision tower, so the Q-Former may have been trained on any.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import Blip2QFormerConfig, Blip2QFormerModel

from isthmus.connectors._qformer_names import BESIDE, BESIDE_FILE, QFORMER
from isthmus.connectors.qformer import QFormer
from isthmus.modeling.modeling_alignment import IsthmusForAlignment
from isthmus.modeling.modeling_isthmus import IsthmusForConditionalGeneration
from isthmus.modeling.processing_alignment import IsthmusAlignmentProcessor
from isthmus.modeling.processing_isthmus import IsthmusProcessor
from isthmus.shipping.importers import blip2


def export_qformer(
    model: IsthmusForConditionalGeneration | IsthmusForAlignment,
    processor: IsthmusProcessor | IsthmusAlignmentProcessor,
    folder: Path,
) -> tuple[str, ...]:
    """Writes the folder of a `Blip2QFormerModel`; returns what a user should know.

    Queries, text embeddings, projections, heads and the norm of the patches go into a file beside
    it, by the names that the whole models of transformers have for them, and by ours where they
    have none. The tokenizer of what the Q-Former reads lies there, too.

    Args:
        model: whose Q-Former is written.
        processor: of the model.
        folder: that is written.

    Raises:
        ValueError: the model has no Q-Former.
    """
    qformer: Any
    if isinstance(model, IsthmusForAlignment):
        qformer, heads = model.qformer, _heads(model)
    else:
        qformer, heads = model.model.connector, {}
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
    around = {name: value.contiguous() for name, value in (beside | heads).items()}
    save_file(around, folder / BESIDE_FILE)
    tokenizer: Any = processor.tokenizer
    if isinstance(processor, IsthmusProcessor):
        tokenizer = processor.qformer_tokenizer
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    return (
        f"{BESIDE_FILE} holds what stands around the Q-Former: {_kinds(around)}",
        *_start_notes(qformer, heads),
    )


def _heads(model: IsthmusForAlignment) -> dict[str, Tensor]:
    parts = ("vision_tower.", "qformer.")
    return {n: v for n, v in model.state_dict().items() if not n.startswith(parts)}


def _start_notes(qformer: QFormer, heads: dict[str, Tensor]) -> tuple[str, ...]:
    """Returns what a new model that starts from the folder does not get from it."""
    notes: tuple[str, ...] = ()
    if heads:
        notes += (
            "a new model that starts from this folder takes the Q-Former and its text side, and "
            f"its heads are fresh: {_kinds(heads)} stay in {BESIDE_FILE}",
        )
    if qformer.config.project:
        notes += (
            "a new model that starts from this folder takes the projection where its language "
            f"model is {qformer.projection.out_features} wide, too, and a fresh one elsewhere",
        )
    if (eps := qformer.config.patch_norm_eps) != QFormer.Config.patch_norm_eps:
        notes += (f"no file says qformer.patch_norm_eps, {eps}; a new model has to be given it",)
    return notes


def _kinds(names: dict[str, Tensor]) -> str:
    return ", ".join(sorted({name.split(".")[0] for name in names}))
