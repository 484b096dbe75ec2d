"""The language model's tokenizer, with one more token: the placeholder of a visual token."""

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from isthmus.language.chat_template import chat_template

IMAGE_TOKEN = "<image>"
"""Text of the placeholder unless another is chosen."""


def load_tokenizer(
    language: str,
    image_token: str = IMAGE_TOKEN,
    template: str | None = None,
    *,
    is_encoder_decoder: bool = False,
) -> PreTrainedTokenizerBase:
    """Loads a tokenizer that knows the placeholder, can pad, and has a chat template.

    The placeholder may get an id beyond the model's vocabulary: it is never embedded, and neither
    the embeddings nor the head are resized for it.

    Args:
        language: local folder or hub id of the language model.
        image_token: text of the placeholder.
        template: name or file of a chat template, in place of the tokenizer's own; without either
            it is `plain`, or `lines` before a decoder.
        is_encoder_decoder: whether the language model reads with an encoder. The tokenizer itself
            then puts its marks around what is read, the begin token too.

    Raises:
        ValueError: there is no tokenizer, none of its tokens can serve as padding, or the template
            cannot be used.
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
    if template is not None or tokenizer.chat_template is None:
        choice = template or ("lines" if is_encoder_decoder else "plain")
        tokenizer.chat_template = chat_template(
            choice, tokenizer, image_token, begins=not is_encoder_decoder
        )
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
