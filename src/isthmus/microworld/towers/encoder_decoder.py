"""The microworld's encoder-decoder: a small T5 that reads a scene in words and what is asked of it.

The encoder reads lines: the scene, a question, its answer, the next question. The decoder writes
the last answer. So a document teaches one answer, where a causal model learns from all of them; for
more in one pass, most documents ask numbered questions and get numbered answers.
"""

from copy import deepcopy
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any, Literal, final

import torch
import torch.nn.functional as F
from jaxtyping import Int
from tokenizers.processors import TemplateProcessing
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization
from transformers import (
    BatchEncoding,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)
from transformers.models.t5.modeling_t5 import T5Attention

from isthmus.axes import IGNORED_LABEL
from isthmus.microworld.towers.corpus import Curriculum, Document, documents
from isthmus.microworld.towers.language import PATIENCE, exam
from isthmus.microworld.towers.pretrain import Pretraining
from isthmus.microworld.towers.tokenizer import BEGIN, END
from isthmus.microworld.towers.vocabulary import microworld_tokenizer

Kind = Literal["numbered", "lone", "in_turn"]

_ROWS, _LENGTH = 40, 192
_WIDTH, _DEPTH, _HEADS, _FFN = 128, 4, 8, 344
_TURNS = 8
"""Questions in a document that has several."""
_SHARES: dict[Kind, float] = {"numbered": 0.75, "lone": 0.2, "in_turn": 0.05}
"""How often the documents of a batch are of a kind."""
_STD = 0.02
"""Of initial weights: T5's are larger, since its steps were relative to their size."""


@final
class EncoderDecoder(Pretraining):
    """Answers from documents without turns marked, by a T5 as Flan-T5: gated units, untied head.

    Paper: T5, arXiv 1910.10683, section 2.1. Differs: answers are learned from the start, where T5
        restores spans first; no dropout, since no document comes twice.
    """

    learning_rate = 2e-3
    name = "t5"

    def __init__(self, *, steps: int, seed: int) -> None:
        self.steps, self.seed = steps, seed
        self.curriculum = Curriculum(level=2, patience=round(PATIENCE * steps))
        self.tokenizer = marking_tokenizer()
        torch.manual_seed(seed)
        self.model = _fresh(self.tokenizer)

    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Cross-entropy over the words of the answers."""
        rng = Random(f"encoder_decoder/{self.seed}/{step}")
        # Rows of a batch are of one kind and alike in length, so little of it is padding.
        kind = rng.choices(tuple(_SHARES), list(_SHARES.values()))[0]
        turns, rows = (1, _ROWS) if kind == "lone" else (_TURNS, _ROWS // 2)
        stream = documents(rng, self.curriculum, chat=False, turns=turns)
        batch = list(islice(stream, rows))
        logits, labels = self._written([read_and_written(d, kind) for d in batch])
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED_LABEL)
        right = _right(logits, labels)
        # Of the others, the answer that is told is not the first.
        told = zip(batch, right, strict=True) if kind == "lone" else ()
        self.curriculum.observe_answers(told)
        return loss, {
            "loss": loss.item(),
            "accuracy": fmean(right),
            "tasks": self.curriculum.mean,
            "level": self.curriculum.level,
        }

    def _written(
        self, pairs: list[tuple[str, str]]
    ) -> tuple[Tensor, Int[Tensor, "documents written"]]:
        """Logits and labels of what is to be written after what is read."""
        read = self._encoded([text for text, _ in pairs])
        written = self._encoded([text for _, text in pairs])
        labels = written["input_ids"].masked_fill(written["attention_mask"] == 0, IGNORED_LABEL)
        return self.model(**read, labels=labels).logits.float(), labels

    def _encoded(self, texts: list[str]) -> BatchEncoding:
        return self.tokenizer(
            texts,
            padding=True,
            truncation=True,
            max_length=_LENGTH,
            return_tensors="pt",
            return_token_type_ids=False,
        )

    def state(self) -> dict[str, Any]:
        """The curriculum's position."""
        return asdict(self.curriculum)

    def restore(self, state: dict[str, Any]) -> None:
        """Takes back the curriculum's position."""
        self.curriculum = Curriculum(**state)

    @torch.no_grad()
    def scores(self) -> dict[str, float]:
        """Share of single questions on test scenes in words answered exactly, by scene size."""
        return exam(self._answered, chat=False)

    def _answered(self, batch: list[Document]) -> list[bool]:
        rights: list[bool] = []
        for start in range(0, len(batch), _ROWS):
            asked = [read_and_written(d, "lone") for d in batch[start : start + _ROWS]]
            logits, labels = self._written(asked)
            rights += _right(logits, labels)
        return rights

    def save(self, folder: Path) -> None:
        """Writes fp16 weights, config and tokenizer."""
        weights = self.model.state_dict()
        for name, layer in _queries(self.model).items():
            weights[f"{name}.weight"] = layer.weight
            del weights[f"{name}.parametrizations.weight.original"]
        half = T5ForConditionalGeneration(self.model.config)
        half.load_state_dict(weights)
        half.half().save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def _right(logits: Tensor, labels: Int[Tensor, "documents written"]) -> list[bool]:
    """Whether each document is written to the letter, given what is written before."""
    return ((logits.argmax(-1) == labels) | (labels == IGNORED_LABEL)).all(1).tolist()


def _fresh(tokenizer: PreTrainedTokenizerFast) -> T5ForConditionalGeneration:
    """A small T5, drawn as BERT and Llama are; half of its heads look near from the start.

    T5 does not divide scores by the root of a head's width, but draws the maps of its queries the
    smaller for it. With steps of one size these would soon be too large, so while they are trained
    they are multiplied by that factor.

    T5 learns at which distance a head looks with steps relative to a weight's size. Ours are not,
    and from its start near zero a head would take a thousand of them to tell a thing's own words
    from the next thing's.

    Paper: the slopes of ALiBi, arXiv 2108.12409, section 3.
    """
    model: Any = T5ForConditionalGeneration(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=_WIDTH,
            d_kv=_WIDTH // _HEADS,
            d_ff=_FFN,
            num_layers=_DEPTH,
            num_heads=_HEADS,
            feed_forward_proj="gated-gelu",
            dropout_rate=0.0,
            tie_word_embeddings=False,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            decoder_start_token_id=tokenizer.pad_token_id,  # type: ignore[call-arg]
        )
    )
    for weight in model.parameters():
        if weight.ndim == 2:
            torch.nn.init.normal_(weight, std=_STD)
    for layer in _queries(model).values():
        register_parametrization(layer, "weight", _Scaled((_WIDTH // _HEADS) ** -0.5))
    half = _HEADS // 2
    slopes = torch.tensor([*[0.0] * half, *(2.0 ** (1 - n) for n in range(half))])
    for stack, directions in ((model.encoder, 2), (model.decoder, 1)):
        bias = stack.block[0].layer[0].SelfAttention.relative_attention_bias.weight
        distance = torch.arange(bias.shape[0]) % (bias.shape[0] // directions)
        bias.data.copy_(-distance[:, None] * slopes)
    return model


def _queries(model: nn.Module) -> dict[str, Any]:
    """Returns the maps of the queries by name."""
    modules = model.named_modules()
    return {f"{name}.q": module.q for name, module in modules if isinstance(module, T5Attention)}


class _Scaled(nn.Module):
    """A weight times a factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.factor


def marking_tokenizer() -> PreTrainedTokenizerFast:
    """Returns the language models' tokenizer, which ends each text as T5's does."""
    tokenizer = deepcopy(microworld_tokenizer(chat=False))
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, tokenizer.eos_token_id)]
    )
    return tokenizer


def read_and_written(document: Document, kind: Kind) -> tuple[str, str]:
    """Returns what the encoder reads of a document, and what the decoder writes.

    Args:
        document: without turns marked.
        kind: numbered: all questions and all answers, each with its number; else the last answer is
            written, after what came before it.
    """
    *lines, _ = (piece.removeprefix(BEGIN).removesuffix("\n") for piece in document.pieces)
    if kind == "numbered":
        read = [f"{line} {n}" for n, line in enumerate(lines[::2], start=1)]
        return _text(read), "\n".join(f"{n} {line}" for n, line in enumerate(lines[1::2], start=1))
    return _text(lines[:-1]), lines[-1]


def _text(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
