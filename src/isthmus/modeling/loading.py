"""Loads what training saved: a model and its processor from one folder."""

from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import AutoConfig, PreTrainedModel

from isthmus.modeling.configuration_alignment import IsthmusAlignmentConfig
from isthmus.modeling.configuration_isthmus import IsthmusConfig
from isthmus.modeling.configuration_vision import IsthmusVisionConfig
from isthmus.modeling.modeling_alignment import IsthmusForAlignment
from isthmus.modeling.modeling_isthmus import IsthmusForConditionalGeneration
from isthmus.modeling.processing_alignment import IsthmusAlignmentProcessor
from isthmus.modeling.processing_isthmus import IsthmusProcessor
from isthmus.modeling.register import register
from isthmus.modeling.trained import TRAINED_FILE, load_trained
from isthmus.modeling.weights import readable_weights

ConfigT = TypeVar("ConfigT", IsthmusConfig, IsthmusAlignmentConfig)
ModelT = TypeVar("ModelT", bound=PreTrainedModel)


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
    config = _config_of(Path(path), IsthmusConfig)
    processor = IsthmusProcessor.from_pretrained(path)
    if (Path(path) / TRAINED_FILE).is_file():
        return load_trained(Path(path), config, dtype=dtype), processor
    return _filled(IsthmusForConditionalGeneration, Path(path), config, dtype), processor


def load_alignment(
    path: str | PathLike[str], *, dtype: torch.dtype | None = None
) -> tuple[IsthmusForAlignment, IsthmusAlignmentProcessor]:
    """Returns the model that compares, matches and tells, and the processor of a saved folder.

    Args:
        path: folder that `save_pretrained` of both wrote.
        dtype: of the weights; as saved by default.

    Raises:
        ValueError: the folder is not a complete model of this kind, or its weights are damaged.
    """
    config = _config_of(Path(path), IsthmusAlignmentConfig)
    processor = IsthmusAlignmentProcessor.from_pretrained(path)
    return _filled(IsthmusForAlignment, Path(path), config, dtype), processor


def load_any(path: str | PathLike[str], *, dtype: torch.dtype | None = None) -> tuple[Any, Any]:
    """Returns the model of a saved folder, whichever it holds, and its processor.

    Args:
        path: see `load` and `load_alignment`.
        dtype: of the weights; as saved by default.

    Raises:
        ValueError: see `load` and `load_alignment`.
    """
    kind: Any = load_alignment if kind_of(path) is IsthmusAlignmentConfig else load
    return kind(path, dtype=dtype)


def kind_of(path: str | PathLike[str]) -> type[IsthmusConfig] | type[IsthmusAlignmentConfig]:
    """Returns what a saved folder holds: a model that answers, or one that compares.

    Raises:
        ValueError: it holds neither.
    """
    return type(_read_config(Path(path)))


def _config_of(folder: Path, kind: type[ConfigT]) -> ConfigT:
    config = _read_config(folder)
    if not isinstance(config, kind):
        others = {IsthmusConfig: "isthmus.load", IsthmusAlignmentConfig: "isthmus.load_alignment"}
        raise ValueError(
            f"{folder} holds a {config.model_type!r} model; expected a {kind.model_type!r} model "
            f"({others[type(config)]} loads this one)"
        )
    return config


def _read_config(folder: Path) -> IsthmusConfig | IsthmusAlignmentConfig:
    for name in ("config.json", "processor_config.json"):
        if not (folder / name).is_file():
            raise ValueError(
                f"{folder} holds no {name}; expected the output folder of a finished training "
                "run, as written by save_pretrained of the model and of the processor"
            )
    register()
    config = AutoConfig.from_pretrained(folder)
    if not isinstance(config, IsthmusConfig | IsthmusAlignmentConfig):
        raise ValueError(
            f"{folder} holds a {config.model_type!r} model; expected an 'isthmus' model"
        )
    return config


def _filled(
    kind: type[ModelT], folder: Path, config: IsthmusVisionConfig, dtype: torch.dtype | None
) -> ModelT:
    with readable_weights(folder):
        loaded: Any = kind.from_pretrained(
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
    return model.eval()
