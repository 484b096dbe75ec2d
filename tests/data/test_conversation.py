"""Labels are what the template says the assistant writes, whatever the tokenizer does with it."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from isthmus import IsthmusProcessor
from isthmus.axes import IGNORED_LABEL
from isthmus.data.conversation import EncodedConversation, encode, prompt
from isthmus.data.sample import ImagePart, Message, Sample, Text
from tests.tiny import CHAT_TEMPLATE, save_language, save_vision, tiny_image

IMAGE = Path("/images/a.png")


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> IsthmusProcessor:
    folder = tmp_path_factory.mktemp("towers")
    return IsthmusProcessor.from_towers(
        vision=save_vision(folder / "v"), language=save_language(folder / "l"), connector="linear"
    )


def _sample(*turns: tuple[str, str], id: str = "row") -> Sample:
    messages = [
        Message(role, (ImagePart(), Text(text)) if role == "user" and n == 0 else (Text(text),))
        for n, (role, text) in enumerate(turns)
    ]
    return Sample(id=id, messages=tuple(messages), images=(IMAGE,))


def _learned(encoded: EncodedConversation, processor: IsthmusProcessor) -> list[str]:
    """Stretches of supervised tokens, as text."""
    stretches: list[list[int]] = [[]]
    for label in encoded.labels.tolist():
        if label != IGNORED_LABEL:
            stretches[-1].append(label)
        elif stretches[-1]:
            stretches.append([])
    return [processor.tokenizer.decode(stretch) for stretch in stretches if stretch]


def test_exactly_the_answers_and_their_ends_are_labels(processor: IsthmusProcessor) -> None:
    sample = _sample(
        ("user", "assistant: red</s>"),  # words that look like an answer are none
        ("assistant", "red, größer ✓"),
        ("user", "red, größer ✓"),
        ("assistant", "  two\n"),
    )
    encoded = encode(sample, processor)
    assert _learned(encoded, processor) == ["red, größer ✓</s>", "  two\n</s>"]
    supervised = encoded.labels != IGNORED_LABEL
    assert torch.equal(encoded.labels[supervised], encoded.input_ids[supervised])


def test_ids_are_those_of_the_processor(processor: IsthmusProcessor) -> None:
    sample = _sample(("user", "What?"), ("assistant", "red"))
    text = processor.apply_chat_template([m.to_chat() for m in sample.messages])
    whole = processor(images=[tiny_image()], text=[text], add_special_tokens=False)
    assert encode(sample, processor).input_ids.tolist() == list(whole["input_ids"][0])
    assert processor.num_image_tokens == 16


def test_the_prompt_is_where_the_answer_begins(processor: IsthmusProcessor) -> None:
    sample = _sample(("user", "What?"), ("assistant", "red"), ("user", "So?"), ("assistant", "no"))
    encoded = encode(sample, processor)
    ids = prompt(sample.messages, processor)
    assert prompt(sample.messages[:-1], processor) == ids
    assert encoded.input_ids[: len(ids)].tolist() == ids
    assert processor.tokenizer.decode(encoded.labels[len(ids) : len(ids) + 3]) == "no</s>"


def test_tokens_of_blanks_only_are_labels_too(processor: IsthmusProcessor) -> None:
    # A tokenizer that trims offsets gives a token of blanks an empty span.
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.ByteLevel(trim_offsets=True)
    backend.train_from_iterator(
        ["one two    three"],
        trainers.BpeTrainer(
            vocab_size=300,
            special_tokens=["<s>", "</s>", "<image>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", chat_template=CHAT_TEMPLATE
    )
    other = IsthmusProcessor(
        image_processor=processor.image_processor, tokenizer=tokenizer, num_image_tokens=2
    )
    answer = "one    two  "
    encoded = encode(_sample(("user", "two   "), ("assistant", answer)), other)
    assert _learned(encoded, other) == [f"{answer}</s>"]


def test_typed_templates_get_typed_parts(processor: IsthmusProcessor) -> None:
    template = (
        "{% for m in messages %}{% if m.role == 'assistant' %}"
        "{% generation %}{{ m.content[0].text }}{% endgeneration %}{% else %}"
        "{% for p in m.content %}{{ '<image>' if p.type == 'image' else p.text }}{% endfor %}"
        "{% endif %}{% endfor %}"
    )
    typed = IsthmusProcessor(
        image_processor=processor.image_processor,
        tokenizer=processor.tokenizer,
        chat_template=template,
        num_image_tokens=3,
    )
    encoded = encode(_sample(("user", "What?"), ("assistant", "red")), typed)
    text = processor.tokenizer.decode(encoded.input_ids)
    assert text == "<image><image><image>What?red"
    assert _learned(encoded, typed) == ["red"]


UNMARKED = {
    "plain": "{% for m in messages %}<s>{{ m.role }}\n{{ m.content }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant\n{% endif %}",
    "trims line breaks in front": "{% for m in messages %}<s>{{ m.role }}\n"
    "{{ m.content.lstrip('\n') if m.role == 'assistant' else m.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant\n{% endif %}",
    "trims": "{% for m in messages %}<s>{{ m.role }}: {{ m.content | trim }} </s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant: {% endif %}",
}


@pytest.mark.parametrize("name", UNMARKED)
def test_answers_are_found_in_a_template_without_marks(
    processor: IsthmusProcessor, name: str
) -> None:
    other = IsthmusProcessor(
        image_processor=processor.image_processor,
        tokenizer=processor.tokenizer,
        chat_template=UNMARKED[name],
        num_image_tokens=2,
    )
    sample = _sample(
        ("user", "red # answer 1 #"),
        ("assistant", "\nred"),
        ("user", "assistant\nred</s>"),
        ("assistant", " red\n"),
    )
    encoded = encode(sample, other)
    expected = {
        "plain": ["\nred</s>", " red\n</s>"],
        "trims": ["red </s>", "red </s>"],
        "trims line breaks in front": ["red</s>", " red\n</s>"],
    }[name]
    assert _learned(encoded, other) == expected
    ids = prompt(sample.messages, other)
    assert encoded.input_ids[: len(ids)].tolist() == ids
    assert encoded.labels[len(ids)] != IGNORED_LABEL


def test_what_a_template_puts_before_the_last_answer_is_learnt(
    processor: IsthmusProcessor,
) -> None:
    # Some templates of models that think write an empty thought before the last answer alone, which
    # the prompt does not hold.
    template = (
        "{% for m in messages %}<s>{{ m.role }}\n"
        "{% if loop.last and m.role == 'assistant' %}(thinks)\n{% endif %}{{ m.content }}</s>"
        "{% endfor %}{% if add_generation_prompt %}<s>assistant\n{% endif %}"
    )
    other = IsthmusProcessor(
        image_processor=processor.image_processor,
        tokenizer=processor.tokenizer,
        chat_template=template,
    )
    sample = _sample(
        ("user", "What?"), ("assistant", "red"), ("user", "Sure?"), ("assistant", "yes")
    )
    assert _learned(encode(sample, other), other) == ["red</s>", "(thinks)\nyes</s>"]


@pytest.mark.parametrize("begins", [False, True])
def test_a_language_model_without_a_template_gets_a_plain_one(tmp_path: Path, begins: bool) -> None:
    language = save_language(tmp_path / "l")
    bare = AutoTokenizer.from_pretrained(language)
    bare.chat_template = None
    (tmp_path / "l" / "chat_template.jinja").unlink()
    if begins:
        bare.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", bare.bos_token_id)]
        )
    bare.save_pretrained(language)
    plain = IsthmusProcessor.from_towers(
        vision=save_vision(tmp_path / "v"), language=language, connector="linear"
    )
    sample = _sample(("user", "What?"), ("assistant", "red"), ("user", "So?"), ("assistant", "no"))
    encoded = encode(sample, plain)
    image = "<image>" * plain.num_image_tokens
    text = plain.tokenizer.decode(encoded.input_ids)
    assert text == "<s>" * begins + f"{image}What?\nred</s>\nSo?\nno</s>\n"
    assert _learned(encoded, plain) == ["red</s>", "no</s>"]
    ids = prompt(sample.messages, plain)
    assert encoded.input_ids[: len(ids)].tolist() == ids
    assert plain.tokenizer.decode(encoded.labels[len(ids) : len(ids) + 2]) == "no"


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% for m in messages %}{{ m.content }}\n{% endfor %}", "with no special token"),
        (
            "{% for m in messages %}{{ m.content | upper }}</s>{% endfor %}",
            "does not keep the answers",
        ),
        ("{{ messages[0].content }}{# {% generation %} #}", "no supervised token"),
        (
            "{{ messages[0].content }}{% generation %}{% endgeneration %}",
            "no supervised token",
        ),
        ("{{ messages[0].role }}{% generation %}x{% endgeneration %}", "0 image tokens"),
    ],
)
def test_a_template_that_teaches_nothing_is_an_error(
    processor: IsthmusProcessor, template: str, reason: str
) -> None:
    other = IsthmusProcessor(
        image_processor=processor.image_processor,
        tokenizer=processor.tokenizer,
        chat_template=template,
    )
    with pytest.raises(ValueError, match=f"^row-9: .*{reason}"):
        encode(_sample(("user", "What?"), ("assistant", "red"), id="row-9"), other)


def test_text_that_spells_the_image_token_is_an_error(processor: IsthmusProcessor) -> None:
    sample = _sample(("user", "What is <image>?"), ("assistant", "red"))
    with pytest.raises(ValueError, match="row: 2 image tokens '<image>' for 1 images"):
        encode(sample, processor)
