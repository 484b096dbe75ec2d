"""BLIP-2 and InstructBLIP of transformers as models of ours.

The published class loads its own folder, so that whatever it can read can be imported. Then tower,
Q-Former and language model are taken out of it, and the language model's logits are proved to stay
as they were, bit for bit (see `take_apart`).
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers.utils import logging

from isthmus.connectors.qformer import QFormer
from isthmus.language.backbone import take_apart
from isthmus.language.tokenizer import IMAGE_TOKEN, token_id
from isthmus.modeling.configuration_alignment import IsthmusAlignmentConfig
from isthmus.modeling.configuration_isthmus import IsthmusConfig
from isthmus.modeling.configuration_vision import portable
from isthmus.modeling.modeling_alignment import IsthmusForAlignment
from isthmus.modeling.processing_alignment import (
    IsthmusAlignmentProcessor,
    load_text_tokenizer,
    token_ids,
)
from isthmus.modeling.processing_isthmus import (
    QFORMER_TOKENIZER,
    IsthmusProcessor,
    load_qformer_tokenizer,
)
from isthmus.modeling.weights import readable_weights
from isthmus.shipping.imported import (
    Imported,
    assembled,
    caption_tokens,
    check_shapes,
    shapes_of,
    tokenizer_of,
)
from isthmus.shipping.importers import blip2
from isthmus.shipping.importers._tower import vision_fields
from isthmus.shipping.importers._whole import Whole
from isthmus.vision.preprocessing import read_preprocessing

FRESH_HEADS = (
    "the published class has no language head and no temperature: these are fresh, so matching and "
    "similarities (apart from their scale) are the published ones, and captions have to be trained"
)


def import_generation(whole: Whole, source: str, dtype: torch.dtype) -> Imported:
    """Returns a model that answers, and its processor.

    Args:
        whole: the published class.
        source: local folder or hub id.
        dtype: of all weights.

    Raises:
        ValueError: a weight is missing or of another shape, or a tokenizer is missing.
    """
    stock, notes = _load(whole, source, dtype)
    theirs = stock.config
    connector = _connector(whole, theirs, source)
    tokenizer = tokenizer_of(source, theirs.text_config)
    image_id = theirs.image_token_index
    config = IsthmusConfig(
        **_vision(source, theirs),
        text_config=portable(theirs.text_config),
        connector_config=connector.to_dict(),
        image_token_id=token_id(tokenizer, IMAGE_TOKEN) if image_id is None else image_id,
    )
    words = None
    if connector.text is not None:
        words = load_qformer_tokenizer(source, subfolder=QFORMER_TOKENIZER)
    processor = IsthmusProcessor.for_model(config, tokenizer, words)
    given = {n: v for n, v in _weights(stock).items() if not n.startswith("language_model.")}
    weights = whole.generation_names(theirs.text_config).to_ours(given)
    model = assembled(config, take_apart(stock.language_model), weights)
    return Imported(model=model, processor=processor, notes=notes)


def import_retrieval(source: str, dtype: torch.dtype) -> Imported:
    """Returns a model that compares and matches, and its processor.

    Args:
        source: local folder or hub id of a `Blip2ForImageTextRetrieval`.
        dtype: of all weights.

    Raises:
        ValueError: a weight is missing or of another shape, or there is no tokenizer of a BERT.
    """
    stock, notes = _load(blip2.RETRIEVAL, source, dtype)
    theirs = stock.config
    connector = replace(_connector(blip2.RETRIEVAL, theirs, source), project=False)
    tokenizer = load_text_tokenizer(source)
    weights = blip2.RETRIEVAL_NAMES.to_ours(_weights(stock))
    marks: dict[str, Any] = dict(token_ids(tokenizer))
    config = IsthmusAlignmentConfig(
        **_vision(source, theirs),
        qformer_config=_with_room(connector, marks["bos_token_id"]).to_dict(),
        d_embedding=theirs.image_text_hidden_size,
        max_caption_tokens=caption_tokens(connector),
        **marks,
    )
    model: Any = IsthmusForAlignment(config).to(dtype)  # type: ignore[arg-type]
    own = model.state_dict()
    if config.qformer.text != connector.text:
        words = "qformer.text.words.weight"
        weights[words] = torch.cat([weights[words], own[words][len(weights[words]) :]])
        notes += ("the published vocabulary has no mark before captions: its row is fresh",)
    model.load_state_dict({**own, **weights})
    return Imported(
        model=model.eval(),
        processor=IsthmusAlignmentProcessor.for_model(config, tokenizer),
        notes=(*notes, FRESH_HEADS),
    )


def _load(whole: Whole, source: str, dtype: torch.dtype) -> tuple[Any, tuple[str, ...]]:
    """Returns a published model with its own weights, and what there was beside them."""
    # What is missing or too much is told here; the library's own report would come on top.
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with readable_weights(source):
            stock, report = whole.model.from_pretrained(
                source, dtype=dtype, output_loading_info=True, ignore_mismatched_sizes=True
            )
    finally:
        logging.set_verbosity(verbosity)
    own = shapes_of(stock.state_dict())
    bad = {name: tuple(shape) for name, shape, _ in sorted(report["mismatched_keys"])}
    found = {name: shape for name, shape in own.items() if name not in report["missing_keys"]}
    check_shapes({**found, **bad}, own, source)
    left = tuple(
        f"the weight {name!r} has no place and was left out"
        for name in sorted(report["unexpected_keys"])
    )
    # Parts may be kept in another dtype by the class itself.
    return stock.to(dtype).eval(), left


def _connector(whole: Whole, theirs: Any, source: str) -> QFormer.Config:
    """Returns the connector, to which the norm of the patches belongs here."""
    connector = whole.connector(
        theirs.qformer_config.to_dict(), num_queries=theirs.num_query_tokens
    )
    if (connector.text is not None) != whole.has_text:
        raise ValueError(
            f"the Q-Former of {source} has use_qformer_text_input {connector.text is not None}, "
            f"and a {whole.model.__name__} needs the opposite; set it in config.json, if the "
            "weights are there"
        )
    return replace(connector, patch_norm_eps=theirs.vision_config.layer_norm_eps)


def _with_room(connector: QFormer.Config, token: int) -> QFormer.Config:
    """Returns a connector whose vocabulary holds a token."""
    assert connector.text is not None  # it was checked
    size = max(connector.text.vocab_size, token + 1)
    return replace(connector, text=replace(connector.text, vocab_size=size))


def _vision(source: str, theirs: Any) -> dict[str, Any]:
    vision = theirs.vision_config
    return vision_fields(vision, read_preprocessing(source, vision))


def _weights(stock: Any) -> dict[str, Tensor]:
    """Returns the published weights; the queries without their axis of one."""
    weights = dict(stock.state_dict())
    weights["query_tokens"] = weights["query_tokens"][0].clone()
    return weights
