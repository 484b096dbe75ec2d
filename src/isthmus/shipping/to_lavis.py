"""Models of ours as a file of weights that LAVIS reads."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isthmus.connectors.qformer import QFormer
from isthmus.keys import KeyMap
from isthmus.modeling.modeling_alignment import IsthmusForAlignment
from isthmus.modeling.modeling_isthmus import IsthmusForConditionalGeneration
from isthmus.shipping._checks import check_inline, check_qformer
from isthmus.shipping._lavis_code import check_numbers, size_notes
from isthmus.shipping.importers import lavis, lavis_vision
from isthmus.shipping.importers._tower import FINAL_NORM, Tower, eps_note, published_tower

FILE = "checkpoint.pth"
"""Name of the file."""


def export_first_stage(model: IsthmusForAlignment, folder: Path) -> tuple[str, ...]:
    """Writes the file of a `Blip2Qformer`; returns what a user should know.

    Args:
        model: to be written.
        folder: that gets the file.

    Raises:
        ValueError: LAVIS cannot hold the model; the reason is named.
    """
    config: Any = model.config
    tower = published_tower(config, model.vision_tower, model.qformer)
    own = {n: v for n, v in model.state_dict().items() if not n.startswith("vision_tower.")}
    notes = _write(folder, config.qformer, tower, own, lavis.FIRST_STAGE, "qformer.")
    return (*notes, *size_notes(config.qformer, tower, d_embedding=config.d_embedding))


def export_second_stage(model: IsthmusForConditionalGeneration, folder: Path) -> tuple[str, ...]:
    """Writes the file of a `blip2_opt`, `blip2_t5` or their like; returns what a user should know.

    The language model is frozen there, and read from a folder of its own.

    Args:
        model: to be written.
        folder: that gets the file.

    Raises:
        ValueError: LAVIS cannot hold the model; the reason is named.
    """
    connector = check_qformer(model, "LAVIS's second stage")
    check_inline(model, "LAVIS's second stage")
    config: Any = model.config
    family = config.text_config.model_type
    known = {of: projection for projection, of in lavis.PROJECTIONS.items()}
    if family not in known:
        raise ValueError(
            f"the language model is a {family!r} model, and LAVIS has BLIP-2 with "
            f"{', '.join(known)}; export blip2, which holds any"
        )
    tower = published_tower(config, model.model.vision_tower, model.model.connector)
    names = lavis.second_stage(known[family])  # type: ignore[arg-type]  # one of its values
    notes = _write(folder, connector, tower, model.model.connector.state_dict(), names, "")
    return (
        *notes,
        *size_notes(connector, tower),
        f"{FILE} holds no language model: LAVIS reads the one of its own folder, so export blip2 "
        "if yours was changed",
    )


def _write(
    folder: Path,
    qformer: QFormer.Config,
    tower: Tower,
    own: dict[str, Tensor],
    names: KeyMap,
    prefix: str,
) -> tuple[str, ...]:
    check_numbers(qformer, tower)
    # The norm of the patches is the tower's here, whichever side of ours holds it.
    norm = f"{FINAL_NORM}."
    own = {
        **own,
        **{
            f"{prefix}patch_norm.{name.removeprefix(norm)}": value
            for name, value in tower.weights.items()
            if name.startswith(norm)
        },
    }
    vision = {n: v for n, v in tower.weights.items() if not n.startswith(norm)}
    queries = f"{prefix}queries"
    weights = {
        **names.to_theirs({**own, queries: own[queries][None]}),
        **{f"{lavis_vision.PREFIX}{n}": v for n, v in lavis_vision.to_theirs(vision).items()},
    }
    folder.mkdir(parents=True, exist_ok=True)
    # Parts of a whole would be written with all of it.
    torch.save({"model": {name: v.clone() for name, v in weights.items()}}, folder / FILE)
    return eps_note(tower, lavis.PATCH_NORM_EPS)
