"""BLIP-2 of LAVIS as models of ours: one file of weights, and folders for what it does not hold."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast, final

import torch
from torch import Tensor
from transformers import Blip2VisionConfig
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from isthmus.connectors.qformer import QFormer
from isthmus.keys import KeyMap
from isthmus.language.backbone import LanguageParts, stock_class, take_apart, text_config_of
from isthmus.language.tokenizer import IMAGE_TOKEN, token_id
from isthmus.modeling.configuration_alignment import IsthmusAlignmentConfig
from isthmus.modeling.configuration_isthmus import IsthmusConfig
from isthmus.modeling.configuration_vision import portable
from isthmus.modeling.modeling_alignment import IsthmusForAlignment
from isthmus.modeling.modeling_isthmus import IsthmusForConditionalGeneration
from isthmus.modeling.processing_alignment import (
    IsthmusAlignmentProcessor,
    load_text_tokenizer,
    token_ids,
)
from isthmus.modeling.processing_isthmus import IsthmusProcessor, load_qformer_tokenizer
from isthmus.modeling.weights import readable_weights
from isthmus.shipping._lavis_files import read_tower, read_weights
from isthmus.shipping.imported import (
    Imported,
    assembled,
    caption_tokens,
    check_shapes,
    shapes_of,
    tokenizer_of,
)
from isthmus.shipping.importers import lavis, lavis_vision
from isthmus.shipping.importers._tower import vision_fields
from isthmus.vision.preprocessing import Preprocessing

BICUBIC = 3
LANGUAGE_MODELS = ("opt_model.", "t5_model.", "llm_model.")
"""Where a file may hold the frozen language model, which is read from its own folder."""


@final
@dataclass(frozen=True, kw_only=True)
class LavisSource:
    """A file of LAVIS, and what it needs beside it."""

    file: Path
    """Its weights: .pth, or .safetensors."""
    vision: str | None = None
    """The tower, where the file does not hold it: folder or hub id of a transformers model that
    holds one, or a file such as LAVIS's eva_vit_g.pth, whose last block is left out."""
    language: str | None = None
    """Folder or hub id of the language model, for a second stage."""
    text: str | None = None
    """Folder or hub id of a BERT, whose tokenizer reads the Q-Former's texts, where it reads any.
    """


def import_lavis(source: LavisSource, dtype: torch.dtype) -> Imported:
    """Returns the model of a file, and its processor.

    Args:
        source: the file, and what it needs beside it.
        dtype: of all weights.

    Raises:
        ValueError: a weight is missing or of another shape, or something is needed beside the
            file, or would be ignored.
    """
    weights = read_weights(source.file)
    projection = next((name for name in lavis.PROJECTIONS if f"{name}.weight" in weights), None)
    if projection is None and "vision_proj.weight" not in weights:
        raise ValueError(
            f"{source.file} holds neither a first stage of BLIP-2 (vision_proj.weight) nor a "
            f"second ({', '.join(f'{name}.weight' for name in lavis.PROJECTIONS)})"
        )
    settings, tower = read_tower(source.file, weights, source.vision, dtype)
    own = {n: v for n, v in weights.items() if not n.startswith(lavis_vision.PREFIX)}
    has_text = "Qformer.bert.embeddings.word_embeddings.weight" in weights
    connector = lavis.connector(lavis.settings(weights), has_text=has_text)
    _check_needs(source, language=projection is not None, text=has_text)
    fields = vision_fields(
        Blip2VisionConfig(**settings),
        Preprocessing(
            image_size=settings["image_size"],
            mean=tuple(OPENAI_CLIP_MEAN),
            std=tuple(OPENAI_CLIP_STD),
            resample=BICUBIC,
        ),
    )
    if projection is None:
        return _first_stage(source, fields, connector, own, tower, dtype)
    kind = cast("lavis.Projection", projection)
    return _second_stage(source, fields, connector, own, tower, kind, dtype)


def _first_stage(
    source: LavisSource,
    fields: dict[str, Any],
    connector: QFormer.Config,
    weights: dict[str, Tensor],
    tower: dict[str, Tensor],
    dtype: torch.dtype,
) -> Imported:
    tokenizer = load_text_tokenizer(str(source.text))
    marks: dict[str, Any] = dict(token_ids(tokenizer))
    config = IsthmusAlignmentConfig(
        **fields,
        qformer_config=replace(connector, project=False).to_dict(),
        d_embedding=len(weights["vision_proj.weight"]),
        max_caption_tokens=caption_tokens(connector),
        **marks,
    )
    with torch.device("meta"):
        model: Any = IsthmusForAlignment(config)
    own = {n: v for n, v in model.state_dict().items() if not n.startswith("vision_tower.")}
    given = _named(weights, own, lavis.FIRST_STAGE, "qformer.queries", source, dtype)
    vision = {f"vision_tower.encoder.{name}": value for name, value in tower.items()}
    model.load_state_dict({**given, **vision}, assign=True)
    processor = IsthmusAlignmentProcessor.for_model(config, tokenizer)
    return Imported(model=model.eval(), processor=processor)


def _second_stage(
    source: LavisSource,
    fields: dict[str, Any],
    connector: QFormer.Config,
    weights: dict[str, Tensor],
    tower: dict[str, Tensor],
    projection: lavis.Projection,
    dtype: torch.dtype,
) -> Imported:
    kept = {n: v for n, v in weights.items() if not n.startswith(LANGUAGE_MODELS)}
    language = str(source.language)
    parts, notes = _language(language, projection, dtype)
    if len(kept) < len(weights):
        notes += (
            f"{source.file} holds the language model as well, which LAVIS never trains; its "
            f"weights were read from {language}",
        )
    text = parts.backbone.config
    tokenizer = tokenizer_of(language, text)
    if projection == "opt_proj" and parts.generation_config is not None:
        # What LAVIS puts behind a caption, and ends it by.
        ends = tokenizer("\n", add_special_tokens=False)["input_ids"]
        parts.generation_config.eos_token_id = ends[0]
    config = IsthmusConfig(
        **fields,
        text_config=portable(text),
        connector_config=connector.to_dict(),
        image_token_id=token_id(tokenizer, IMAGE_TOKEN),
    )
    words = load_qformer_tokenizer(source.text) if source.text else None
    processor = IsthmusProcessor.for_model(config, tokenizer, words)
    prefix = "model.connector."
    with torch.device("meta"):
        own = IsthmusForConditionalGeneration(config).model.connector.state_dict()
    names = lavis.second_stage(projection)
    given = _named(kept, own, names, "queries", source, dtype)
    vision = {f"model.vision_tower.encoder.{name}": value for name, value in tower.items()}
    model = assembled(config, parts, {**{f"{prefix}{n}": v for n, v in given.items()}, **vision})
    return Imported(model=model, processor=processor, notes=notes)


def _language(
    language: str, projection: lavis.Projection, dtype: torch.dtype
) -> tuple[LanguageParts, tuple[str, ...]]:
    """Returns the language model as LAVIS builds it."""
    config, family = text_config_of(language), lavis.PROJECTIONS[projection]
    if config.model_type != family:
        raise ValueError(
            f"{language!r} is a {config.model_type!r} model, and {projection!r} leads to a "
            f"{family!r} model; name the one that the checkpoint was trained with"
        )
    notes: tuple[str, ...] = ()
    if projection == "t5_proj" and config.dense_act_fn != "gelu":
        notes = (f"LAVIS computes the exact GELU where {language} names {config.dense_act_fn!r}",)
        config.dense_act_fn = "gelu"
    with readable_weights(language):
        stock = stock_class(config).from_pretrained(language, config=config, dtype=dtype)
    return take_apart(stock), notes


def _named(
    weights: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    names: KeyMap,
    queries: str,
    source: LavisSource,
    dtype: torch.dtype,
) -> dict[str, Tensor]:
    """Returns weights under our names, once all that are needed are there and fit."""
    expected = names.to_theirs({**own, queries: own[queries][None]})
    check_shapes(shapes_of(weights), shapes_of(expected), source.file)
    given = names.to_ours({name: value.to(dtype) for name, value in weights.items()})
    return {**given, queries: given[queries][0].clone()}


def _check_needs(source: LavisSource, *, language: bool, text: bool) -> None:
    """Checks that what the file needs beside it is there, and nothing that it does not."""
    for name, needed in (("language", language), ("text", text)):
        if needed != (getattr(source, name) is not None):
            told, advice = ("needs", "give it") if needed else ("would ignore", "leave it out")
            raise ValueError(f"the model in {source.file} {told} `{name}`; {advice}")
