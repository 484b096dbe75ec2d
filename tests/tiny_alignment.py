"""A tiny random model that holds images and texts together, with its processor and batches."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    BertConfig,
    BertModel,
    PreTrainedTokenizerFast,
)

from isthmus import IsthmusAlignmentConfig, IsthmusAlignmentProcessor, IsthmusForAlignment
from isthmus.axes import Batch
from isthmus.connectors._qformer_text import TextSide
from isthmus.connectors.qformer import QFormer
from isthmus.modeling.processing_alignment import token_ids
from tests.tiny import D_VISION, IMAGE_SIZE, tiny_image_processor, tiny_vision

MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[DEC]")
WORDS = ("a", "red", "blue", "green", "square", "circle", "star", "and", "under", "over")
VOCAB = len(MARKS) + len(WORDS)
LENGTH = 9
QFORMER = QFormer.Config(
    num_queries=3,
    depth=3,
    d_hidden=24,
    num_heads=4,
    d_ffn=32,
    dropout=0.0,
    text=TextSide(vocab_size=VOCAB, num_positions=12),
)


def text_tokenizer() -> PreTrainedTokenizerFast:
    """A word is a token, between the marks of a BERT."""
    vocabulary = {word: number for number, word in enumerate((*MARKS, *WORDS))}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        bos_token="[DEC]",
    )


def alignment_config(**changes: Any) -> IsthmusAlignmentConfig:
    """The configuration; changes are of its fields."""
    return IsthmusAlignmentConfig(
        **{
            "vision_config": tiny_vision().config.to_dict(),
            "vision_layer": -1,
            "image_size": IMAGE_SIZE,
            "qformer_config": QFORMER.to_dict(),
            "d_embedding": 8,
            "temperature": 0.5,
            "max_caption_tokens": LENGTH,
            **token_ids(text_tokenizer()),
            **changes,
        }
    )


def tiny_alignment(seed: int = 0, **changes: Any) -> IsthmusForAlignment:
    """A model whose weights are large enough that a wrong pass shows."""
    model = IsthmusForAlignment(alignment_config(**changes))
    torch.manual_seed(seed)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1 and not name.startswith("vision_tower"):
            nn.init.normal_(parameter, std=0.3)
    return model.eval()


def alignment_processor(model: IsthmusForAlignment) -> IsthmusAlignmentProcessor:
    """The processor of a model."""
    return IsthmusAlignmentProcessor.for_model(model.config, text_tokenizer())


def pairs_batch(size: int, *, seed: int = 0, patches: int = 16) -> Batch:
    """Images as a tower saw them, and texts of several lengths."""
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.randint(3, LENGTH + 1, (size,), generator=draw)
    ids = torch.randint(len(MARKS), VOCAB, (size, LENGTH), generator=draw)
    places = torch.arange(LENGTH)
    mask = places < lengths[:, None]
    ids[:, 0] = 2
    ids[torch.arange(size), lengths - 1] = 3
    return Batch(
        input_ids=ids * mask,
        attention_mask=mask.long(),
        patch_features=torch.randn(size, patches, D_VISION, generator=draw),
        image_ids=torch.arange(size),
    )


def part_of(batch: Batch, rows: slice) -> Batch:
    """Some pairs of a batch."""
    names = ("input_ids", "attention_mask", "patch_features", "image_ids", "text_ids")
    given = {name: getattr(batch, name) for name in names}
    return replace(batch, **{n: v[rows] for n, v in given.items() if v is not None})


def save_bert(folder: Path) -> str:
    """A BERT of the Q-Former's sizes with its tokenizer."""
    config = BertConfig(
        vocab_size=VOCAB,
        hidden_size=QFORMER.d_hidden,
        num_hidden_layers=QFORMER.depth,
        num_attention_heads=QFORMER.num_heads,
        intermediate_size=32,
        max_position_embeddings=12,
    )
    BertModel(config).save_pretrained(folder)
    text_tokenizer().save_pretrained(folder)
    return str(folder)


def save_two_towers(folder: Path, kind: str) -> Any:
    """Saves a random CLIP or SigLIP whose text tower reads the words of this file; returns it."""
    sides = {
        "vision_config": tiny_vision().config.to_dict(),
        "text_config": {
            "vocab_size": VOCAB,
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 24,
            "max_position_embeddings": LENGTH,
            "projection_size": D_VISION,
            "pad_token_id": 0,
            "bos_token_id": 2,
            "eos_token_id": 3,
        },
    }
    torch.manual_seed(0)
    model = AutoModel.from_config(AutoConfig.for_model(kind, **sides)).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    text_tokenizer().save_pretrained(folder)
    tiny_image_processor().save_pretrained(folder)
    return model
