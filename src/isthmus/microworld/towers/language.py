"""The microworld's language models: a small Llama that answers about scenes told in words."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from itertools import accumulate, islice
from pathlib import Path
from random import Random
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from isthmus.microworld.scene import MAX_THINGS, draw_scene
from isthmus.microworld.tasks import VQA, questions
from isthmus.microworld.towers.corpus import (
    Curriculum,
    Document,
    documents,
    write_document,
)
from isthmus.microworld.towers.pretrain import Pretraining
from isthmus.microworld.towers.start import Start
from isthmus.microworld.towers.vocabulary import microworld_tokenizer
from isthmus.microworld.words import scene_text

_TEXT_WEIGHT = 0.1
"""Weight of what is not an answer: scenes are random, so little of it can be learnt."""
PATIENCE = 0.08
"""Share of the steps after which a scene may hold one thing more, however little is right."""
_LENGTH, _TURNS = 96, 4
"""Length of a document in tokens, and the questions in it at most.

Few questions about many scenes: with thirty, a relation was told from the answers before it, and
alone it stayed at chance.
"""


@final
class LanguageModeling(Pretraining):
    """Base: plain documents. Chat: the same with turns, by a model that has read the plain ones."""

    learning_rate = 2e-3

    def __init__(
        self, name: str, start: Start, *, chat: bool, steps: int, seed: int, rows: int = 64
    ) -> None:
        self.name, self.chat, self.steps, self.seed, self.rows = name, chat, steps, seed, rows
        self.curriculum = Curriculum(
            level=MAX_THINGS if chat else 2, patience=round(PATIENCE * steps)
        )
        self.tokenizer = microworld_tokenizer(chat=chat)
        torch.manual_seed(seed)
        self.model = start(self.tokenizer)
        # The fastest at this size on a CPU; the saved folder does not keep the choice.
        self.model.set_attn_implementation("eager")

    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Cross-entropy over the answers, and a tenth of it over the rest."""
        rng = Random(f"language/{self.chat}/{self.seed}/{step}")
        stream = documents(rng, self.curriculum, chat=self.chat, turns=_TURNS)
        batch = list(islice(stream, self.rows))
        ids, weights, first = encode(self.tokenizer, batch, length=_LENGTH)
        logits = self.model(input_ids=ids, use_cache=False).logits[:, :-1].float()
        targets, weights, first = ids[:, 1:], weights[:, 1:], first[:, 1:]
        losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        losses = losses.view_as(weights)
        text = (targets != self.tokenizer.pad_token_id) & (weights == 0)
        on_answers = (losses * weights).sum() / weights.sum()
        loss = on_answers + _TEXT_WEIGHT * losses[text].mean()
        right = (logits.argmax(-1) == targets) * weights
        exact = ((right * first).sum(1) > 0.999).tolist()
        whole = ((weights * first).sum(1) > 0.999).tolist()  # not cut off
        told = zip(batch, exact, whole, strict=True)
        self.curriculum.observe_answers((it, right) for it, right, is_whole in told if is_whole)
        return loss, {
            "loss": on_answers.item(),
            "accuracy": (right.sum() / weights.sum()).item(),
            "tasks": self.curriculum.mean,
            "level": self.curriculum.level,
        }

    def state(self) -> dict[str, Any]:
        """The curriculum's position."""
        return asdict(self.curriculum)

    def restore(self, state: dict[str, Any]) -> None:
        """Takes back the curriculum's position."""
        self.curriculum = Curriculum(**state)

    def scores(self) -> dict[str, float]:
        """Share of single questions on test scenes in words answered exactly, by scene size."""
        return exam(self._answered, chat=self.chat)

    @torch.no_grad()
    def _answered(self, batch: list[Document]) -> list[bool]:
        """Whether greedy decoding gives each document's last answer to the letter."""
        rights: list[bool] = []
        for start in range(0, len(batch), 64):
            ids, weights, _ = encode(self.tokenizer, batch[start : start + 64])
            guesses = self.model(input_ids=ids, use_cache=False).logits[:, :-1].argmax(-1)
            wrong = (guesses != ids[:, 1:]) & (weights[:, 1:] > 0)
            rights += (~wrong.any(1)).tolist()
        return rights

    def save(self, folder: Path) -> None:
        """Writes fp16 weights, config, tokenizer and chat template."""
        half = LlamaForCausalLM(self.model.config)
        half.load_state_dict(self.model.state_dict())
        half.half().save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def exam(answered: Callable[[list[Document]], list[bool]], *, chat: bool) -> dict[str, float]:
    """Returns the share of right answers to single questions on test scenes, by size and task.

    Args:
        answered: tells of each document whether its answer is written to the letter.
        chat: whether turns are marked.
    """
    scores = {}
    for number in range(1, MAX_THINGS + 1):
        rng = Random(f"language/test/{number}")
        rights: dict[str, list[bool]] = {}
        batch: list[Document] = []
        names: list[str] = []
        while len(batch) < 640:
            scene = draw_scene("test", rng, number)
            for task, question in questions(scene, rng, (*VQA, "reading"), 1):
                turns = [(question.text, question.answer)]
                pieces = write_document(scene_text(scene, rng), turns, chat=chat)
                batch.append(Document(pieces))
                names.append(task)
        for task, right in zip(names, answered(batch), strict=True):
            rights.setdefault(task, []).append(right)
        total = [right for group in rights.values() for right in group]
        scores[f"things_{number}"] = sum(total) / len(total)
        for task, group in rights.items():
            scores[f"things_{number}_{task}"] = sum(group) / len(group)
    return scores


def encode(
    tokenizer: PreTrainedTokenizerFast, batch: list[Document], *, length: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids, weights by which each answer counts as one however long, and which are the first.

    Args:
        tokenizer: The microworld's own.
        batch: Documents; what does not fit is cut off.
        length: Of every row; the longest document's when None.

    Returns:
        Ids, weights, and which tokens are those of a document's first answer.

    Shape: three (documents, seq) tensors, padded on the right.
    """
    texts = ["".join(document.pieces) for document in batch]
    encodings = tokenizer.backend_tokenizer.encode_batch(texts, add_special_tokens=False)
    length = length or max(len(encoding.ids) for encoding in encodings)
    ids = torch.full((len(batch), length), tokenizer.pad_token_id)
    weights = torch.zeros(len(batch), length)
    first = torch.zeros(len(batch), length, dtype=torch.bool)
    for i, (document, encoding) in enumerate(zip(batch, encodings, strict=True)):
        # A token belongs to the piece in which it starts: pieces end where a token ends, too.
        ends = list(accumulate(map(len, document.pieces)))
        owners = [bisect_right(ends, start) for start, _ in encoding.offsets]
        sizes = Counter(owners)
        shares = [1 / sizes[owner] if owner % 2 else 0.0 for owner in owners]
        ids[i, : len(owners)] = torch.tensor(encoding.ids[:length])
        weights[i, : len(owners)] = torch.tensor(shares[:length])
        first[i, : len(owners)] = torch.tensor([owner == 1 for owner in owners[:length]])
    return ids, weights, first
