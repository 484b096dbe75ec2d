"""Conversations to text, and which of its characters the assistant writes.

A chat template with generation marks says so itself. Few templates have them; in one without, each
answer is found by rendering the conversation once more with a stand-in in its place.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from jinja2 import TemplateSyntaxError
from transformers.utils.chat_template_utils import render_jinja_template

from isthmus.data.faults import Fault
from isthmus.data.processor import Processor
from isthmus.data.sample import Message, Text

Span = tuple[int, int]
"""First character, and the one after the last."""

_READINGS: tuple[Callable[[str], str], ...] = (
    str,
    str.strip,
    str.lstrip,
    str.rstrip,
    lambda answer: answer.strip("\n"),
    lambda answer: answer.lstrip("\n"),
    lambda answer: answer.rstrip("\n"),
)
"""What templates do to an answer: nothing, or trim it."""

_MARK = re.compile(r"\{%-?\s*generation\s*-?%\}")
_STYLE = re.compile(r"""\.style\b|\[['"]style['"]\]""")
TO_MARK = (
    "write {% generation %} ... {% endgeneration %} around the answers in the template, or choose "
    "another one with --chat-template"
)


def check_template(processor: Processor, style: str | None = None) -> None:
    """Checks that the chat template can write a conversation and tells its answers.

    Before a decoder, which writes an answer without the template, it has to write the question.

    Args:
        processor: whose template it is.
        style: in which it is to ask.

    Raises:
        ValueError: it cannot, whatever a row may hold.
    """
    question = Message("user", (Text("What is it?"),), style)
    answer = Message("assistant", (Text("A red square."),))
    system = Message("system", (Text("Be brief."),))
    refusals = []
    for messages in ((question, answer), (system, question, answer)):
        try:
            if processor.is_encoder_decoder:
                render(messages[:-1], processor, "a question", add_generation_prompt=True)
                return
            _, spans = render_answers(messages, processor, "a question and its answer")
        except Fault as fault:
            refusals.append(fault)
        else:
            if not any(last > first for first, last in spans):
                raise ValueError(f"the chat template marks no answer; {TO_MARK}")
            return
    raise ValueError(str(refusals[0])) from refusals[0]


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
        Fault: the template refuses the conversation.
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
        ValueError: there is no chat template.
        Fault: it refuses the conversation, or has no marks and the answers cannot be found.
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
            raise Fault(
                "chat_template",
                f"{name}: the chat template ends an answer with {text[last : last + 20]!r} and "
                f"with no special token, so that none would be learnt to end; {TO_MARK}",
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
    said = "".join(message.text for message in messages)
    sign = "#"
    while sign in said:
        sign += "#"
    stand_ins = {
        index: f"{sign} answer {index} {sign}"
        for index, message in enumerate(messages)
        if message.role == "assistant"
    }
    swapped = [
        replace(message, parts=(Text(stand_ins[index]),)) if index in stand_ins else message
        for index, message in enumerate(messages)
    ]
    frame = render(swapped, processor, name)
    before, *rest = re.split("|".join(map(re.escape, stand_ins.values())), frame)
    spans = {}
    last = len(before) if text.startswith(before) else -1
    for index, after in zip(stand_ins, rest, strict=False):
        answers = (read(messages[index].text) for read in _READINGS)
        found = (answer for answer in answers if text.startswith(answer + after, max(0, last)))
        answer = next(found, None)
        if last < 0 or answer is None:
            break
        spans[index] = (last, last + len(answer))
        last += len(answer) + len(after)
    if len(spans) != len(stand_ins) or last != len(text):
        raise Fault(
            "chat_template",
            f"{name}: the chat template has no generation marks, and does not keep the answers as "
            f"they are, so that they cannot be found; {TO_MARK}",
        )
    return spans


def _jinja(
    messages: Sequence[Message], processor: Processor, name: str, **options: Any
) -> tuple[Any, Any]:
    template = processor.chat_template
    if not isinstance(template, str):
        raise ValueError(
            f"{name}: the processor has no single chat template; choose one with --chat-template"
        )
    style = next((message.style for message in messages if message.style is not None), None)
    if style is not None and not _STYLE.search(template):
        raise Fault(
            "chat_template",
            f"{name} is to be asked in the style {style!r}, but the chat template knows no styles; "
            "leave the style out, or choose another one with --chat-template",
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
    except TemplateSyntaxError as error:
        raise ValueError(
            f"the chat template is no Jinja, line {error.lineno}: {error}; choose another one with "
            "--chat-template"
        ) from error
    except Exception as error:  # many insist on turns that alternate, or on no system turn
        raise Fault("chat_template", f"{name}: the chat template refuses it: {error}") from error
    return rendered
