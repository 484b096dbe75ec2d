"""The tower LM's tokenizer: a small byte-level BPE, so that any text round-trips."""

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

VOCABULARY = 1024
BEGIN, END, PAD, USER, ASSISTANT = "<|begin|>", "<|end|>", "<|pad|>", "<|user|>", "<|assistant|>"

# A square of the board, a word, a number of at most two digits (with the space before it), a run of
# signs, or one blank. Read as two tokens, a square's row is never gathered in the thing's noun: the
# row can be copied from behind the column.
_PIECES = r" ?[a-h][1-8](?!\w)| ?[A-Za-z]+| ?\d{1,2}| ?[^\sA-Za-z\d]+|\s"

CHAT_TEMPLATE = """\
{{ bos_token }}{% for message in messages %}\
{% if message.role == 'assistant' %}\
<|assistant|>{% generation %}{{ message.content }}<|end|>{% endgeneration %}\
{% else %}\
<|user|>{{ message.content }}<|end|>\
{% endif %}\
{% endfor %}\
{% if add_generation_prompt %}<|assistant|>{% endif %}"""


def train_tokenizer(texts: Iterable[str], *, chat: bool) -> PreTrainedTokenizerFast:
    """Trains the tokenizer on microworld text; `chat` adds the chat template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, BEGIN, END, USER, ASSISTANT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[USER, ASSISTANT],
        chat_template=CHAT_TEMPLATE if chat else None,
        model_max_length=2048,
        clean_up_tokenization_spaces=False,
    )
