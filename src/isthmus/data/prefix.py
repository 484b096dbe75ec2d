"""Answers split in two: the first words are read, the rest is written."""

from dataclasses import replace
from random import Random

from isthmus.data.sample import Message, Sample, Text


def split_answer(sample: Sample, *, seed: int) -> Sample:
    """Returns a sample whose last answer begins in the turn before it.

    So an encoder reads the image and the first words, and the decoder writes the rest. The place is
    drawn evenly from behind the first word to the middle of the answer, once for each sample.

    Paper: BLIP-2, arXiv 2301.12597, section 3.2 (figure 3, below).
    Differs: the paper does not say where it splits, and its code expects texts that are split
        already; the place here is the one that its authors named on request. It is counted in
        words, and an answer of one word stays whole.

    Args:
        sample: a conversation that ends with an answer.
        seed: of the draws.
    """
    *before, last = sample.messages
    words = last.text.split(" ")
    if last.role != "assistant" or len(words) < 2 or not before or before[-1].role != "user":
        return sample
    draw = Random(f"prefix/{seed}/{sample.id}")
    place = draw.randint(1, max(1, len(words) // 2))
    asked = before[-1]
    there = f"{asked.text} " if asked.text.strip() else ""
    images = tuple(part for part in asked.parts if not isinstance(part, Text))
    read = replace(asked, parts=(*images, Text(there + " ".join(words[:place]))))
    written = Message(last.role, (Text(" ".join(words[place:])),))
    return replace(sample, messages=(*before[:-1], read, written))
