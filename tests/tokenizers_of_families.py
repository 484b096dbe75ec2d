"""Small tokenizers built as those of the language model families are: same parts, few merges."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast, T5Tokenizer

_TEXT = [
    "What colour is the ring? It is red, and larger than the two blue stars beside it.",
    "USER: Where is the moon? ASSISTANT: The moon is on the left, above the green square.",
    "Question: How many? Short answer: three. In: yes Out: no Human: who AI: nobody",
    "The following is a conversation between a curious human and AI assistant.",
    "größer ✓ naïve 12345 [[012,345,678,901]]\n\nlist:\n - one\n - two\n",
]
_SPLIT = Regex(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _byte_level(
    *, bos: str | None, eos: str, extra: tuple[str, ...] = (), begins: bool = False, split: bool
) -> PreTrainedTokenizerBase:
    """GPT-2's kind: bytes as letters, merges within words."""
    backend = Tokenizer(models.BPE())
    if split:
        backend.normalizer = normalizers.NFC()
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(_SPLIT, behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    else:
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    specials = list(dict.fromkeys([s for s in (bos, eos, *extra) if s]))
    _train(backend, specials, alphabet=pre_tokenizers.ByteLevel.alphabet())
    backend.post_processor = processors.ByteLevel(trim_offsets=True)
    if begins and bos:
        backend.post_processor = _beginning(backend, bos)
    return _fast(backend, bos=bos, eos=eos)


def _sentencepiece(*, prefix: bool, extra: tuple[str, ...] = ()) -> PreTrainedTokenizerBase:
    """Llama's kind: blanks as letters, unknown characters as bytes."""
    backend = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    steps = [normalizers.Prepend("▁")] if prefix else []
    backend.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
    ends = [decoders.Strip(content=" ", left=1)] if prefix else []
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *ends]
    )
    bytes_ = [f"<0x{n:02X}>" for n in range(256)]
    # While it learns its merges, words are apart; later nothing cuts the text beforehand.
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    _train(backend, ["<unk>", "<s>", "</s>", *bytes_, *extra], alphabet=[])
    backend.pre_tokenizer = None
    backend.post_processor = _beginning(backend, "<s>")
    return _fast(backend, bos="<s>", eos="</s>")


def t5_tokenizer() -> PreTrainedTokenizerBase:
    """T5's kind: pieces with probabilities, blanks of any kind as one, an end mark and no begin."""
    learner = Tokenizer(models.Unigram())
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=["<pad>", "</s>", "<unk>"], show_progress=False
    )
    learner.train_from_iterator(_TEXT * 3, trainer)
    pieces = json.loads(learner.to_str())["model"]["vocab"]
    return T5Tokenizer(vocab=[(piece, score) for piece, score in pieces], extra_ids=0)


def _train(backend: Tokenizer, specials: list[str], *, alphabet: list[str]) -> None:
    trainer = trainers.BpeTrainer(
        vocab_size=len(specials) + len(alphabet) + 300,
        special_tokens=specials,
        initial_alphabet=alphabet,
        show_progress=False,
    )
    backend.train_from_iterator(_TEXT * 3, trainer)


def _beginning(backend: Tokenizer, bos: str) -> processors.TemplateProcessing:
    return processors.TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, backend.token_to_id(bos))]
    )


def _fast(backend: Tokenizer, *, bos: str | None, eos: str) -> PreTrainedTokenizerBase:
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=bos, eos_token=eos)


_IM = ("<|im_start|>", "<|im_end|>")

FAMILIES: dict[str, Callable[[], PreTrainedTokenizerBase]] = {
    "llama": lambda: _sentencepiece(prefix=True),
    "mistral": lambda: _sentencepiece(prefix=True, extra=("[INST]", "[/INST]")),
    "gemma": lambda: _sentencepiece(prefix=False, extra=("<start_of_turn>", "<end_of_turn>")),
    "qwen": lambda: _byte_level(bos=None, eos="<|im_end|>", extra=_IM, split=True),
    "gpt2": lambda: _byte_level(bos="<|endoftext|>", eos="<|endoftext|>", split=False),
    "opt": lambda: _byte_level(bos="</s>", eos="</s>", begins=True, split=False),
    "gpt_neox": lambda: _byte_level(
        bos="<|endoftext|>", eos="<|endoftext|>", extra=_IM, split=False
    ),
}

HUB_TEMPLATES: dict[str, str] = {
    "llama": "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token + '[INST] ' + "
    "m.content.strip() + ' [/INST]' }}{% elif m.role == 'assistant' %}{{ ' ' + m.content.strip() + "
    "' ' + eos_token }}{% else %}{{ raise_exception('no system turns') }}{% endif %}{% endfor %}",
    "mistral": "{{ bos_token }}{% for m in messages %}{% if (m.role == 'user') != "
    "(loop.index0 % 2 == 0) %}{{ raise_exception('turns must alternate') }}{% endif %}"
    "{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% else %}"
    "{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}",
    "gemma": "{{ bos_token }}{% for m in messages %}<start_of_turn>"
    "{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}",
    "qwen": "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    "gpt_neox": "{% for m in messages %}{{ m.role + ': ' + m.content + eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}",
}
"""Forms that the families' chat models write, without marks; base models have none."""


@cache
def _built(family: str) -> PreTrainedTokenizerBase:
    return FAMILIES[family]()


def save_tokenizer(folder: Path, family: str, template: str | None = None) -> None:
    """Saves the tokenizer of a family, with a chat template or without one."""
    tokenizer = _built(family)
    tokenizer.chat_template = template
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    tokenizer.save_pretrained(folder)
