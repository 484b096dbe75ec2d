"""What a language model still makes of text alone, now that it sees.

Some texts are read by the language model as it was and by the same one inside the trained model.
Where it stayed frozen, their logits are the same bit by bit; where it learned, perplexity and the
answers to questions without pictures tell what it forgot.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from isthmus.data.processor import Processor
from isthmus.evaluation.benchmark import Benchmark
from isthmus.evaluation.mode import measured
from isthmus.evaluation.requests import Answer, Rank, Request
from isthmus.evaluation.scores import Score, Scores
from isthmus.language.backbone import LanguageParts, stock_class, take_apart, text_config_of
from isthmus.modeling import fingerprint
from isthmus.modeling.modeling_isthmus import IsthmusForConditionalGeneration
from isthmus.modeling.weights import swapped_weights

MAX_TEXTS = 64
MAX_TOKENS = 512
"""Of a text; the rest of it is not read."""

Ask = Callable[[Sequence[Request]], dict[str, Answer]]


@final
@dataclass(frozen=True, kw_only=True)
class TextAbility:
    """A language model on text alone, before it was given eyes and after."""

    language: str
    """The one before: folder or hub id."""
    is_identical: bool
    """Whether all logits of the texts are what they were, bit by bit."""
    weights: str
    """Fingerprint of the language model's weights."""
    weights_before: str
    perplexity: float | None
    """Of the texts, per token; none where an encoder reads them."""
    perplexity_before: float | None
    num_texts: int

    def lines(self) -> list[str]:
        """Returns the certificate in words."""
        hashes = f"{self.weights_before} before, {self.weights} now"
        if self.weights == self.weights_before:
            hashes = f"{self.weights}, as before"
        certificate = (
            f"text alone: logits of {self.num_texts} texts bit-identical to those of "
            f"{self.language}: {'yes' if self.is_identical else 'no'} (weights {hashes})"
        )
        if self.perplexity is None or self.perplexity_before is None:
            return [certificate]
        told = f"{self.perplexity_before:.4f} before, {self.perplexity:.4f} now"
        return [certificate, f"perplexity of these texts: {told}"]


def text_ability(
    model: IsthmusForConditionalGeneration,
    processor: Processor,
    language: str,
    texts: Sequence[str],
    *,
    benchmark: Benchmark,
    requests: Sequence[Request],
    answers: Mapping[str, Answer],
    scores: Scores,
    weights: str,
    ask: Ask,
    seed: int = 0,
) -> tuple[TextAbility, dict[str, Score]]:
    """Compares a language model with what it was.

    Paper: CogVLM, arXiv 2311.03079, section 2.1: with the language model frozen, what it does
        without an image stays the same; its appendix shows what training it forgets.

    Args:
        model: trained; its language model is that one's.
        processor: of the model.
        language: the language model before: local folder or hub id.
        texts: that neither has learned from.
        benchmark: whose questions without pictures are asked of both.
        requests: of the benchmark, as the model was asked them.
        answers: of the model to all of them.
        scores: of these answers.
        weights: fingerprint of the model's language model.
        ask: answers requests with the model as it is at that time.
        seed: of the bootstrap.

    Returns:
        What came of it, and the scores that the language model had in questions without pictures.

    Raises:
        ValueError: the language model is another one, or no text is long enough.
    """
    body = model.model.language_model
    stock = stock_class(text_config_of(language)).from_pretrained(
        language, dtype=model.dtype, attn_implementation=body.config._attn_implementation
    )
    stock.to(model.device)
    encoded = _encoded(texts, processor, model.config.max_positions)
    with measured(model), measured(stock):
        is_identical, before, after = _read(stock, model, encoded)
    with swapped_weights(model, _named(take_apart(stock)), language):
        were = fingerprint.of_weights(model.parts()["language_model"].state_dict())
        if not is_identical:  # or else its answers were the same
            given = ask(_without_pictures(requests))
            scores = benchmark.score({**answers, **given}, seed=seed)
    found = TextAbility(
        language=language,
        is_identical=is_identical,
        weights=weights,
        weights_before=were,
        perplexity=after,
        perplexity_before=before,
        num_texts=len(encoded),
    )
    return found, _of_text(scores)


def _encoded(texts: Sequence[str], processor: Processor, longest: int | None) -> list[Tensor]:
    limit = min(MAX_TOKENS, longest or MAX_TOKENS)
    tokens = (processor.tokenizer(text)["input_ids"][:limit] for text in texts)
    found = [torch.tensor([ids]) for ids in tokens if len(ids) > 1][:MAX_TEXTS]
    if not found:
        raise ValueError(
            f"none of {len(texts)} texts has two tokens; give --texts a file with one on each line"
        )
    return found


def _read(
    stock: Any, model: Any, encoded: Sequence[Tensor]
) -> tuple[bool, float | None, float | None]:
    """Returns whether all logits are equal, and the perplexity of one model and of the other."""
    is_identical, sums, num_tokens = True, [0.0, 0.0], 0
    for ids in (each.to(model.device) for each in encoded):
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "use_cache": False}
        if stock.config.is_encoder_decoder:
            inputs["decoder_input_ids"] = ids
        both = [each(**inputs).logits for each in (stock, model)]
        is_identical = is_identical and torch.equal(*both)
        for number, logits in enumerate(both):
            loss = cross_entropy(logits[0, :-1].float(), ids[0, 1:], reduction="sum")
            sums[number] += float(loss)
        num_tokens += ids.shape[1] - 1
    if stock.config.is_encoder_decoder:  # its decoder was told the text that it should foretell
        return is_identical, None, None
    before, after = (math.exp(each / num_tokens) for each in sums)
    return is_identical, before, after


def _named(parts: LanguageParts) -> dict[str, Tensor]:
    """Returns the weights of a language model by their names in the joined one."""
    return {
        **{f"model.language_model.{n}": v for n, v in parts.backbone.state_dict().items()},
        **{f"lm_head.{n}": v for n, v in parts.head.state_dict().items()},
    }


def _without_pictures(requests: Sequence[Request]) -> list[Request]:
    return [r for r in requests if not isinstance(r, Rank) and not r.prompt.images]


def _of_text(scores: Scores) -> dict[str, Score]:
    """Returns the metrics that no question with a picture counts for."""
    seen = {name for row in scores.rows if row.images for name in row.scores}
    return {name: score for name, score in scores.metrics.items() if name not in seen}
