"""The language model's tokenizer, with one more token: the placeholder of a visual token."""

from transformers import AutoTokenizer, PreTrainedTokenizerBase

IMAGE_TOKEN = "<image>"
"""Text of the placeholder unless another is chosen."""

PLAIN_TEMPLATE = """\
{% for message in messages %}\
{% if message.role == 'assistant' %}\
{% generation %}{{ message.content }}{{ eos_token }}{% endgeneration %}\
{% else %}{{ message.content }}{% endif %}{{ '\\n' }}\
{% endfor %}"""
"""Chat template of a language model that has none: a line for each turn, the end token after an
answer."""


def load_tokenizer(language: str, image_token: str = IMAGE_TOKEN) -> PreTrainedTokenizerBase:
    """Loads a tokenizer that knows the placeholder and can pad.

    The placeholder may get an id beyond the model's vocabulary: it is never embedded, and neither
    the embeddings nor the head are resized for it. Without a chat template there will be a plain
    one.

    Args:
        language: local folder or hub id of the language model.
        image_token: text of the placeholder.

    Raises:
        ValueError: there is no tokenizer, or none of its tokens can serve as padding.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(language)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{language!r} holds no tokenizer ({error}); save the language model's own beside it "
            "with tokenizer.save_pretrained"
        ) from error
    if image_token not in tokenizer.get_vocab():
        tokenizer.add_tokens([image_token], special_tokens=True)
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise ValueError(
                f"the tokenizer of {language!r} has neither a padding nor an end token; set "
                "tokenizer.pad_token and save it again"
            )
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.chat_template is None:
        begins = tokenizer("").input_ids[:1] == [tokenizer.bos_token_id]
        tokenizer.chat_template = ("{{ bos_token }}" if begins else "") + PLAIN_TEMPLATE
    return tokenizer


def token_id(tokenizer: PreTrainedTokenizerBase, token: str) -> int:
    """Returns the id of a token.

    Raises:
        ValueError: the tokenizer does not keep the token in one piece.
    """
    ids = tokenizer.encode(token, add_special_tokens=False)
    if len(ids) != 1:
        raise ValueError(
            f"the tokenizer splits {token!r} into {len(ids)} tokens; add it with "
            "tokenizer.add_tokens([token], special_tokens=True), or choose another token"
        )
    return int(ids[0])
