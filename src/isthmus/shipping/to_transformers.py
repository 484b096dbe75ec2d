"""Models of ours as BLIP-2 and InstructBLIP of transformers, where these can hold them."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isthmus.connectors.qformer import QFormer
from isthmus.data.rendering import render
from isthmus.data.sample import ImagePart, Message, Text
from isthmus.language.tokenizer import IMAGE_TOKEN
from isthmus.modeling.modeling_alignment import IsthmusForAlignment
from isthmus.modeling.modeling_isthmus import IsthmusForConditionalGeneration
from isthmus.modeling.processing_alignment import IsthmusAlignmentProcessor
from isthmus.modeling.processing_isthmus import IsthmusProcessor
from isthmus.shipping._checks import check_inline, check_qformer
from isthmus.shipping._stock_processor import stock_processor
from isthmus.shipping.importers import blip2
from isthmus.shipping.importers._tower import Tower, eps_note, published_tower
from isthmus.shipping.importers._whole import Whole

DROPPED_HEADS = (
    "the published class has no language head and no temperature: both were left out, so "
    "similarities are no longer divided by the temperature of {temperature:.4g}, and no captions "
    "can be written"
)
HEADS = ("vision_projection.", "text_projection.", "itm_head.")
LANGUAGE = ("model.language_model.", "lm_head.")
MARKS = ("bos_token_id", "eos_token_id", "pad_token_id")


def export_generation(
    whole: Whole,
    model: IsthmusForConditionalGeneration,
    processor: IsthmusProcessor,
    folder: Path,
) -> tuple[str, ...]:
    """Writes the folder of a published class that answers; returns what a user should know.

    Args:
        whole: the published class.
        model: to be written.
        processor: of the model.
        folder: that is written.

    Raises:
        ValueError: the class cannot hold the model; the reason is named.
    """
    connector = _checked(model, whole)
    config: Any = model.config
    tower = published_tower(config, model.model.vision_tower, model.model.connector)
    published, image_token, notes = stock_processor(
        whole, config, processor, num_queries=connector.num_queries
    )
    text = config.text_config.to_dict()
    # The published class generates by its language model's configuration.
    given = ((name, getattr(model.generation_config, name)) for name in MARKS)
    text |= {name: value for name, value in given if value is not None}
    weights = {
        **_connector_weights(whole, model.model.connector),
        **whole.generation_names(config.text_config).to_theirs(
            {n: v for n, v in model.state_dict().items() if n.startswith(LANGUAGE)}
        ),
    }
    stock = _filled(
        whole, connector, tower, weights, text_config=text, image_token_index=image_token
    )
    notes += _make_room(stock, image_token)
    stock.save_pretrained(folder)
    if published is not None:
        published.save_pretrained(folder)
        notes += _prompt_note(processor)
    return (*notes, *eps_note(tower, float(tower.settings["layer_norm_eps"])))


def _prompt_note(processor: IsthmusProcessor) -> tuple[str, ...]:
    """Returns how the model was asked, where the published processor asks in another form."""
    image, question = IMAGE_TOKEN, "What is it?"
    asked = render(
        [Message("user", (ImagePart(), Text(question)))],
        processor,
        "the prompt",
        add_generation_prompt=True,
    )
    begin = processor.tokenizer.bos_token or ""
    if asked in (f"{image}{begin}{question}", f"{image}{question}\n"):
        return ()
    return (
        f"the model learned to be asked as {asked!r}; a published processor writes the pictures, "
        f"{begin!r} and then your text, so that answers may be worse: train with the chat template "
        "'blip2' to have both alike",
    )


def export_retrieval(
    model: IsthmusForAlignment, processor: IsthmusAlignmentProcessor, folder: Path
) -> tuple[str, ...]:
    """Writes the folder of a `Blip2ForImageTextRetrieval`; returns what a user should know.

    Args:
        model: to be written.
        processor: of the model.
        folder: that is written.

    Raises:
        ValueError: the class cannot hold the model; the reason is named.
    """
    whole = blip2.RETRIEVAL
    config: Any = model.config
    tower = published_tower(config, model.vision_tower, model.qformer)
    published, image_token, notes = stock_processor(
        whole, config, processor, num_queries=config.qformer.num_queries
    )
    weights = {
        **_connector_weights(whole, model.qformer),
        **{n: v for n, v in model.state_dict().items() if n.startswith(HEADS)},
    }
    stock = _filled(
        whole,
        config.qformer,
        tower,
        weights,
        image_text_hidden_size=config.d_embedding,
        image_token_index=image_token,
    )
    stock.save_pretrained(folder)
    if published is not None:
        published.save_pretrained(folder)
    left = DROPPED_HEADS.format(temperature=model.temperature.item())
    return (*notes, left, *eps_note(tower, float(tower.settings["layer_norm_eps"])))


def _checked(model: IsthmusForConditionalGeneration, whole: Whole) -> QFormer.Config:
    """Returns the connector of a model that a published class can hold.

    Raises:
        ValueError: it cannot; the reason is named.
    """
    name = f"a {whole.model.__name__}"
    connector = check_qformer(model, name)
    check_inline(model, name)
    if (connector.text is not None) != whole.has_text:
        reads, other = ("reads the", "instructblip") if connector.text else ("reads no", "blip2")
        raise ValueError(
            f"the Q-Former of this model {reads} instruction, unlike that of {name}; export {other}"
        )
    width = model.get_input_embeddings().embedding_dim
    if width != model.config.text_config.hidden_size:
        raise ValueError(
            f"this language model embeds words {width} wide and is itself "
            f"{model.config.text_config.hidden_size} wide; {name} takes both for one"
        )
    return connector


def _connector_weights(whole: Whole, qformer: Any) -> dict[str, Tensor]:
    """Returns the published weights of a Q-Former; the norm of the patches is the tower's."""
    own = {n: v for n, v in qformer.state_dict().items() if not n.startswith("patch_norm.")}
    weights = whole.names.to_theirs(own)
    return {**weights, "query_tokens": weights["query_tokens"][None]}


def _filled(
    whole: Whole,
    connector: QFormer.Config,
    tower: Tower,
    weights: dict[str, Tensor],
    **settings: Any,
) -> Any:
    """Returns the published model with the weights of ours."""
    config = whole.config(
        vision_config=tower.settings,
        qformer_config=whole.settings(connector, d_vision=tower.settings["hidden_size"]),
        num_query_tokens=connector.num_queries,
        **settings,
    )
    with torch.device("meta"):
        stock = whole.model(config)
    vision = {f"vision_model.{name}": value for name, value in tower.weights.items()}
    stock.load_state_dict({**vision, **weights}, assign=True)
    stock.tie_weights()
    return stock


def _make_room(stock: Any, token: int) -> tuple[str, ...]:
    """Gives the placeholder a row of the embeddings where it has none, as that class embeds it.

    The rows are the mean of all others: so is their logit, which therefore is never the highest.
    """
    language = stock.language_model
    rows = language.get_input_embeddings().num_embeddings
    if token < rows:
        return ()
    language.resize_token_embeddings(token + 1, mean_resizing=False)
    with torch.no_grad():
        head = language.get_output_embeddings()
        tables = {id(t): t for t in (language.get_input_embeddings().weight, head.weight)}
        biases = {} if head.bias is None else {id(head.bias): head.bias}
        for table in (*tables.values(), *biases.values()):
            table[rows:] = table[:rows].mean(dim=0)
    stock.config.text_config.vocab_size = token + 1
    return (
        f"the published class embeds the placeholder, so the vocabulary of {rows} grew to "
        f"{token + 1}: the logits are the same, and one more stands behind them, their mean",
    )
