"""The tokenizer of the microworld's BERT: every word of the world is one piece."""

import string
from collections.abc import Iterable
from itertools import chain

from transformers import BertTokenizer

from isthmus.microworld.towers.texts import Text

POSITIONS = 128
"""Longest text in tokens."""

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]")
_SIGNS = string.punctuation
_CHARACTERS = string.ascii_letters + string.digits


def wordpiece_tokenizer(texts: Iterable[Text]) -> BertTokenizer:
    """Makes the tokenizer whose words are those of `texts`; other words are spelt.

    Differs from BERT's: capitals stay, so that an answer comes back as it was; no vocabulary is
        learnt, since the world has few words. [DEC], BLIP-2's mark before a text that is to be
        written, is there from the start as the token that begins a sequence.
    """
    spelling = [*_SIGNS, *_CHARACTERS, *(f"##{character}" for character in _CHARACTERS)]
    bare = _tokenizer([*_SPECIAL, *spelling])
    pieces = bare.backend_tokenizer.pre_tokenizer
    parts = chain.from_iterable([text] if isinstance(text, str) else text for text in texts)
    words = {word for part in parts for word, _ in pieces.pre_tokenize_str(part)}
    return _tokenizer(dict.fromkeys(chain(_SPECIAL, spelling, sorted(words))))


def _tokenizer(vocabulary: Iterable[str]) -> BertTokenizer:
    return BertTokenizer(
        {piece: index for index, piece in enumerate(vocabulary)},
        do_lower_case=False,
        bos_token="[DEC]",
        model_max_length=POSITIONS,
    )
