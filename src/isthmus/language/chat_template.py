"""Chat templates for language models that have none, or one of another system: one file each.

The published systems put their conversations in their own forms; a model that was trained with one
answers best in it. All files mark what the assistant writes.
"""

import re
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from isthmus.kinds import unknown

_FOLDER = Path(__file__).parent / "templates"
_PLACEHOLDER = "<image>"
"""How the files spell an image where they place it themselves."""
_TOKEN = re.compile(r"<\|\w+\|>")
"""Tokens that a template writes and that must be tokens of the language model."""


def names() -> list[str]:
    """Returns the names of the templates."""
    return sorted(path.stem for path in _FOLDER.glob("*.jinja"))


def chat_template(
    choice: str, tokenizer: PreTrainedTokenizerBase, image_token: str, *, begins: bool = True
) -> str:
    """Returns a chat template by name, or from a file.

    Args:
        choice: one of `names()`, or the path of a Jinja file.
        tokenizer: of the language model.
        image_token: text of the placeholder.
        begins: whether one of ours begins with the begin token when the tokenizer begins a text
            with it.

    Raises:
        ValueError: there is neither such a template nor such a file, or the tokenizer lacks one of
            its tokens.
    """
    if choice in names():
        text = (_FOLDER / f"{choice}.jinja").read_text("utf-8")
        for token in sorted(set(_TOKEN.findall(text))):
            if token not in tokenizer.get_vocab():
                raise ValueError(
                    f"the chat template {choice!r} writes {token}, which the tokenizer does not "
                    f"know; choose another with --chat-template: {', '.join(names())}"
                )
        begins = begins and tokenizer("").input_ids[:1] == [tokenizer.bos_token_id]
        begin = "{{ bos_token }}" if begins and "bos_token" not in text else ""
        return begin + text.replace(_PLACEHOLDER, image_token)
    file = Path(choice)
    if not file.suffix and not file.exists():
        raise ValueError(
            unknown(choice, names(), what="chat template") + ", or name a file that holds one"
        )
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the chat template {file} cannot be read: {error}") from error
