"""The text tower: a BERT that restores hidden words of captions, phrases and questions."""

from pathlib import Path
from random import Random
from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import BatchEncoding, BertConfig, BertForMaskedLM

from isthmus.axes import IGNORED_LABEL
from isthmus.microworld.towers.pretrain import Pretraining
from isthmus.microworld.towers.texts import KINDS, Text, draw_text
from isthmus.microworld.towers.wordpiece import POSITIONS, wordpiece_tokenizer

_ROWS, _TEST_ROWS = 32, 512
_WIDTH, _DEPTH, _HEADS = 128, 4, 4
_HIDDEN_SHARE, _MASKED, _SWAPPED = 0.15, 0.8, 0.1
_VOCABULARY_TEXTS = 6000


@final
class MaskedWords(Pretraining):
    """BERT's first objective on texts of the microworld, a third of each kind.

    Paper: 1810.04805, section 3.1, task 1. Differs: no next-sentence task, as in 1907.11692; token
        types stay zero, since a Q-Former that starts from here has none; no dropout, since no text
        comes twice.
    """

    name = "bert"
    learning_rate = 2e-3

    def __init__(self, *, steps: int, seed: int) -> None:
        self.steps, self.seed = steps, seed
        rng = Random("wordpiece/0")
        sample = [draw_text(rng.choice(KINDS), "train", rng) for _ in range(_VOCABULARY_TEXTS)]
        self.tokenizer = wordpiece_tokenizer(sample)
        torch.manual_seed(seed)
        self.model = BertForMaskedLM(
            BertConfig(
                vocab_size=len(self.tokenizer),
                hidden_size=_WIDTH,
                num_hidden_layers=_DEPTH,
                num_attention_heads=_HEADS,
                intermediate_size=4 * _WIDTH,
                max_position_embeddings=POSITIONS,
                hidden_dropout_prob=0.0,
                attention_probs_dropout_prob=0.0,
                pad_token_id=self.tokenizer.pad_token_id,
            )
        )
        types = self.model.bert.embeddings.token_type_embeddings.weight
        torch.nn.init.zeros_(types.requires_grad_(False))

    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Cross-entropy over the hidden words."""
        rng = Random(f"words/{self.seed}/{step}")
        texts = [draw_text(rng.choice(KINDS), "train", rng) for _ in range(_ROWS)]
        logits, truth = self._restored(texts)
        loss = F.cross_entropy(logits, truth)
        right = (logits.argmax(-1) == truth).float().mean()
        return loss, {"loss": loss.item(), "accuracy": right.item()}

    def _restored(self, texts: list[Text]) -> tuple[Tensor, Tensor]:
        """Logits and truth at the hidden places of all texts, one after the other."""
        batch = self._encoded(texts)
        words = ~batch.pop("special_tokens_mask").bool()
        batch["input_ids"], labels = hide(
            batch["input_ids"],
            words,
            mask=self.tokenizer.mask_token_id,
            vocabulary=len(self.tokenizer),
        )
        hidden = labels != IGNORED_LABEL
        return self.model.cls(self.model.bert(**batch)[0][hidden]).float(), labels[hidden]

    def _encoded(self, texts: list[Text]) -> BatchEncoding:
        return self.tokenizer(
            texts, padding=True, return_tensors="pt", return_special_tokens_mask=True
        )

    @torch.no_grad()
    def scores(self) -> dict[str, float]:
        """Share of hidden words of test texts that are restored, by kind of text.

        Many cannot be told from the rest: whatever is said of a thing of a scene is drawn.
        """
        scores = {}
        for kind in KINDS:
            rng = Random(f"words/test/{kind}")
            torch.manual_seed(0)
            texts = [draw_text(kind, "test", rng) for _ in range(_TEST_ROWS)]
            logits, truth = self._restored(texts)
            scores[f"restored_{kind}"] = (logits.argmax(-1) == truth).float().mean().item()
        return scores

    def save(self, folder: Path) -> None:
        """Writes fp16 weights, config and tokenizer."""
        half = BertForMaskedLM(self.model.config)
        half.load_state_dict(self.model.state_dict())
        half.half().save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def hide(
    ids: Int[Tensor, "batch seq"], words: Bool[Tensor, "batch seq"], *, mask: int, vocabulary: int
) -> tuple[Int[Tensor, "batch seq"], Int[Tensor, "batch seq"]]:
    """Hides 15% of the words: 80% of these behind the mask, 10% behind another word, 10% in sight.

    Paper: 1810.04805, section 3.1.

    Args:
        ids: Token ids.
        words: Where there is a word to hide.
        mask: Id of the mask.
        vocabulary: Number of ids; any of them may stand for a word.

    Returns:
        What the model sees, and labels: the hidden words' ids, `IGNORED_LABEL` elsewhere.
    """
    hidden = words & (torch.rand(ids.shape) < _HIDDEN_SHARE)
    fate = torch.rand(ids.shape)
    swapped = hidden & (fate >= _MASKED) & (fate < _MASKED + _SWAPPED)
    seen = torch.where(hidden & (fate < _MASKED), mask, ids)
    seen = torch.where(swapped, torch.randint(vocabulary, ids.shape), seen)
    return seen, torch.where(hidden, ids, IGNORED_LABEL)
