"""Conversations to text, and which of its characters the assistant writes.

A chat template with generation marks says so itself. Few templates have them; in one without, each
answer is found by rendering the conversation once more with a stand-in in its place.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any

from jinja2 import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

from isthmus.data.faults import Fault
from isthmus.data.processor import Processor
from isthmus.data.sample import Message, Text

Span = tuple[int, int]
"""First character, and the one after the last."""

_MARK = re.compile(r"\{%-?\s*generation\s*-?%\}")
TO_MARK = (
    "write {% generation %} ... {% endgeneration %} around the answers in the template, or choose "
    "another one with --chat-template"
)


def render(
    messages: Sequence[Message],
    processor: Processor,
    name: str,
    *,
    add_generation_prompt: bool = False,
) -> str:
    """Returns a conversation as text, with one image token for each image.

    Args:
        messages: turns in order.
        processor: template and image token.
        name: what an error calls the conversation.
        add_generation_prompt: end with what stands before an answer.

    Raises:
        ValueError: there is no chat template.
    """
    texts, _ = _jinja(messages, processor, name, add_generation_prompt=add_generation_prompt)
    return texts[0]


def render_answers(
    messages: Sequence[Message], processor: Processor, name: str
) -> tuple[str, list[Span]]:
    """Returns a conversation as text, and the spans of its answers with the tokens that end them.

    Args:
        messages: turns in order.
        processor: template, image token and tokenizer.
        name: what an error calls the conversation.

    Raises:
        ValueError: there is no chat template, or it has no marks and the answers cannot be found.
    """
    template = processor.chat_template
    if isinstance(template, str) and _MARK.search(template):
        texts, spans = _jinja(messages, processor, name, return_assistant_tokens_mask=True)
        return texts[0], spans[0]
    text = render(messages, processor, name)
    # A longer token stands before one that it begins with.
    specials = sorted(processor.tokenizer.get_added_vocab(), reverse=True)
    ends = re.compile(rf"\s*(?:{'|'.join(map(re.escape, specials))})")
    spans = []
    for index, (first, last) in _found(messages, text, processor, name).items():
        end = ends.match(text, last)
        if end is None:
            raise ValueError(
                f"{name}: the chat template ends an answer with {text[last : last + 20]!r} and "
                f"with no special token, so that none would be learnt to end; {TO_MARK}"
            )
        # Whatever the template puts in front of an answer, the model has to write, unless the
        # prompt holds it.
        asked = render(messages[:index], processor, name, add_generation_prompt=True)
        begin = len(asked) if text.startswith(asked) and len(asked) <= first else first
        spans.append((begin, end.end()))
    return text, spans


def _found(
    messages: Sequence[Message], text: str, processor: Processor, name: str
) -> dict[int, Span]:
    """Returns where the text of each answer stands in the rendered conversation, by its turn."""
    stand_ins = {
        index: f"(answer {index} stands here)"
        for index, message in enumerate(messages)
        if message.role == "assistant"
    }
    swapped = [
        replace(message, parts=(Text(stand_ins[index]),)) if index in stand_ins else message
        for index, message in enumerate(messages)
    ]
    frame = render(swapped, processor, name)
    around = re.split("|".join(map(re.escape, stand_ins.values())), frame)
    for read in (str, str.strip):  # many templates trim what they are given
        answers = [read(messages[index].text) for index in stand_ins]
        pieces = [p for pair in zip_longest(around, answers, fillvalue="") for p in pair]
        if len(around) == len(answers) + 1 and "".join(pieces) == text:
            break
    else:
        raise ValueError(
            f"{name}: the chat template has no generation marks, and does not keep the answers as "
            f"they are, so that they cannot be found; {TO_MARK}"
        )
    spans, last = {}, 0
    for index, before, answer in zip(stand_ins, around, answers, strict=False):
        first = last + len(before)
        last = first + len(answer)
        spans[index] = (first, last)
    return spans


def _jinja(
    messages: Sequence[Message], processor: Processor, name: str, **options: Any
) -> tuple[Any, Any]:
    template = processor.chat_template
    if not isinstance(template, str):
        raise ValueError(
            f"{name}: the processor has no single chat template; choose one with --chat-template"
        )
    # Templates of language models join text, so they get text; one that knows images gets parts.
    image_text = None if processor.image_token in template else processor.image_token
    try:
        rendered: Any = render_jinja_template(  # its annotation names one of the two only
            conversations=[[message.to_chat(image_text) for message in messages]],
            chat_template=template,
            **processor.tokenizer.special_tokens_map,
            **options,
        )
    except TemplateError as error:  # many insist on turns that alternate, or on no system turn
        raise Fault("chat_template", f"{name}: the chat template refuses it: {error}") from error
    return rendered
