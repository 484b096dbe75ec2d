"""Loads what training saved: a model and its processor from one folder."""

from os import PathLike
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from isthmus.modeling.configuration_isthmus import IsthmusConfig
from isthmus.modeling.modeling_isthmus import IsthmusForConditionalGeneration
from isthmus.modeling.processing_isthmus import IsthmusProcessor
from isthmus.modeling.register import register
from isthmus.modeling.trained import TRAINED_FILE, load_trained
from isthmus.modeling.weights import readable_weights


def load(
    path: str | PathLike[str], *, dtype: torch.dtype | None = None
) -> tuple[IsthmusForConditionalGeneration, IsthmusProcessor]:
    """Returns the model, ready to answer, and the processor of a saved folder.

    Args:
        path: folder that `save_pretrained` of both wrote, or training with `save` "trained".
        dtype: of the weights; as saved by default.

    Raises:
        ValueError: the folder is not a complete isthmus model, its weights are damaged, or the
            towers it needs are others now.
    """
    folder = Path(path)
    for name in ("config.json", "processor_config.json"):
        if not (folder / name).is_file():
            raise ValueError(
                f"{folder} holds no {name}; expected the output folder of a finished training "
                "run, as written by save_pretrained of the model and of the processor"
            )
    register()
    config = AutoConfig.from_pretrained(folder)
    if not isinstance(config, IsthmusConfig):
        raise ValueError(
            f"{folder} holds a {config.model_type!r} model; expected an 'isthmus' model"
        )
    processor = IsthmusProcessor.from_pretrained(folder)
    if (folder / TRAINED_FILE).is_file():
        return load_trained(folder, config, dtype=dtype), processor
    with readable_weights(folder):
        loaded: Any = IsthmusForConditionalGeneration.from_pretrained(
            folder, config=config, dtype=dtype or "auto", output_loading_info=True
        )
    model, report = loaded
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report[problem]:
            raise ValueError(
                f"the weights in {folder} do not fit its config.json: {len(report[problem])} "
                f"{problem.replace('_', ' ')}, such as {sorted(report[problem])[0]!r}; copy the "
                "whole folder again"
            )
    return model.eval(), processor
