"""The one vocabulary of all the tower LMs, trained on both kinds of document."""

from functools import lru_cache
from itertools import islice
from random import Random

from transformers import PreTrainedTokenizerFast

from isthmus.microworld.scene import MAX_THINGS
from isthmus.microworld.towers.corpus import Curriculum, documents
from isthmus.microworld.towers.tokenizer import train_tokenizer

_DOCUMENTS, _TURNS = 3000, 12


@lru_cache(maxsize=2)
def microworld_tokenizer(*, chat: bool) -> PreTrainedTokenizerFast:
    """Trains the tokenizer anew (two seconds, always the same); `chat` adds the chat template."""
    return train_tokenizer(_texts(), chat=chat)


@lru_cache(maxsize=1)
def _texts() -> list[str]:
    everything = Curriculum(level=MAX_THINGS)
    texts = []
    for turns_marked in (False, True):
        stream = documents(Random("tokenizer/0"), everything, chat=turns_marked, turns=_TURNS)
        texts += [piece for document in islice(stream, _DOCUMENTS) for piece in document.pieces]
    return texts
