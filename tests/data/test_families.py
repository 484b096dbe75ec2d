"""Whatever the tokenizer and the template, exactly the answers are learned, and prompts fit."""

from pathlib import Path

import pytest

from isthmus import IsthmusProcessor, chat_templates
from isthmus.axes import IGNORED_LABEL
from isthmus.data.conversation import encode, prompt
from isthmus.data.faults import Fault
from isthmus.data.rendering import check_template
from isthmus.data.sample import ImagePart, Message, Sample, Text
from isthmus.language.tokenizer import load_tokenizer
from tests.tiny import tiny_image_processor
from tests.tokenizers_of_families import FAMILIES, HUB_TEMPLATES, save_tokenizer

ANSWERS = ("It is red, größer ✓.", "three\n - one", "[[012,345,678,901]]")
QUESTIONS = ("What colour?", "It is red, größer ✓.", "three")
CONVERSATION = Sample(
    id="row",
    images=(Path("/a.png"),),
    messages=tuple(
        Message(role, (ImagePart(), Text(text)) if n == 0 and role == "user" else (Text(text),))
        for n, pair in enumerate(zip(QUESTIONS, ANSWERS, strict=True))
        for role, text in zip(("user", "assistant"), pair, strict=True)
    ),
)


def processor_of(folder: Path, family: str, choice: str | None) -> IsthmusProcessor:
    """A processor over the tokenizer of a family, with its own template or one of ours."""
    save_tokenizer(folder, family, HUB_TEMPLATES.get(family) if choice is None else None)
    return IsthmusProcessor(
        image_processor=tiny_image_processor(),
        tokenizer=load_tokenizer(str(folder), template=choice),
        num_image_tokens=3,
    )


def learned(processor: IsthmusProcessor, sample: Sample) -> list[str]:
    """The stretches of supervised tokens, as text."""
    stretches: list[list[int]] = [[]]
    for label in encode(sample, processor).labels.tolist():
        if label != IGNORED_LABEL:
            stretches[-1].append(label)
        elif stretches[-1]:
            stretches.append([])
    return [processor.tokenizer.decode(s).strip() for s in stretches if s]


def usable(family: str, choice: str | None) -> bool:
    if choice is None:
        return family in HUB_TEMPLATES
    return choice != "chatml" or family in ("qwen", "gpt_neox")


@pytest.mark.parametrize(
    ("family", "choice"),
    [(f, c) for f in FAMILIES for c in (None, *chat_templates()) if usable(f, c)],
)
def test_exactly_the_answers_are_learned(tmp_path: Path, family: str, choice: str | None) -> None:
    processor = processor_of(tmp_path, family, choice)
    found = learned(processor, CONVERSATION)
    end = processor.tokenizer.eos_token
    if choice == "chatml" and end != "<|im_end|>":
        end = f"<|im_end|>{end}"
    if family == "gemma" and choice is None:
        end = "<end_of_turn>"
    if choice == "input_output":
        end = f"\n{end}"
    # Some end only the last answer; of the others, a newline that belongs to no answer ends it.
    last_alone = choice is not None and (choice == "lines" or choice.startswith("cogvlm"))
    ends = ["", "", end] if last_alone else [end] * 3
    assert [text.replace(f" {end}", end) for text in found] == [
        f"{answer}{mark}" for answer, mark in zip(ANSWERS, ends, strict=True)
    ]


@pytest.mark.parametrize(
    ("family", "choice"),
    [(f, c) for f in FAMILIES for c in (None, *chat_templates()) if usable(f, c)],
)
def test_a_prompt_is_what_stood_before_the_answer(
    tmp_path: Path, family: str, choice: str | None
) -> None:
    processor = processor_of(tmp_path, family, choice)
    encoded = encode(CONVERSATION, processor)
    ids = prompt(CONVERSATION.messages, processor)
    assert encoded.input_ids[: len(ids)].tolist() == ids
    assert encoded.labels[len(ids)] != IGNORED_LABEL
    assert encoded.labels[len(ids) - 1] == IGNORED_LABEL


EXPECTED = {
    "blip2": "<image><s>Hm? red</s>So? no</s>",
    "plain": "<image>Hm?\nred</s>\nSo?\nno</s>\n",
    "lines": "<image>Hm?\nred\nSo?\nno</s>",
    "continued": "<image>Hm? red</s>So? no</s>",
    "in_out": "In: <image>Hm?\nOut: red</s>In: So?\nOut: no</s>",
    "input_output": "<s>Input: <image>Hm?\nOutput: red\n</s>Input: So?\nOutput: no\n</s>",
    "vicuna": "A chat between a curious user and an artificial intelligence assistant. The "
    "assistant gives helpful, detailed, and polite answers to the user's questions. USER: "
    "<image>Hm? ASSISTANT: red</s>USER: So? ASSISTANT: no</s>",
    "llama2": "<s>[INST] <image>Hm? [/INST] red </s><s>[INST] So? [/INST] no </s>",
    "human_ai": "The following is a conversation between a curious human and AI assistant. The "
    "assistant gives helpful, detailed, and polite answers to the user's questions.\nHuman: "
    "<image>\nHuman: Hm?\nAI: red</s>\nHuman: So?\nAI: no</s>",
    "cogvlm_base": "<image>Hm? red\nSo? no</s>",
    "cogvlm_chat": "<image>Question: Hm? Answer: red\nQuestion: So? Answer: no</s>",
    "chatml": "<|im_start|>user\n<image>Hm?<|im_end|>\n<|im_start|>assistant\nred<|im_end|>\n"
    "<|im_start|>user\nSo?<|im_end|>\n<|im_start|>assistant\nno<|im_end|>\n",
}


@pytest.mark.parametrize("choice", chat_templates())
def test_each_template_writes_its_form(tmp_path: Path, choice: str) -> None:
    from isthmus.data.rendering import render

    processor = processor_of(tmp_path, "qwen" if choice == "chatml" else "llama", choice)
    turns = [("user", "Hm?"), ("assistant", "red"), ("user", "So?"), ("assistant", "no")]
    messages = [
        Message(role, (ImagePart(), Text(text)) if n == 0 else (Text(text),))
        for n, (role, text) in enumerate(turns)
    ]
    begin = "" if choice in ("llama2", "chatml", "blip2", "input_output") else "<s>"
    assert render(messages, processor, "row") == begin + EXPECTED[choice]
    told = [Message("system", (Text("Be brief."),)), *messages]
    text = render(told, processor, "row")
    assert text.count("Be brief.") == 1
    assert "curious" not in text
    # Stock tools hand over plain strings, images among them as the processor writes them.
    chat = [{"role": "user", "content": "So?"}, {"role": "assistant", "content": "no"}]
    plain = processor.apply_chat_template([chat])
    assert "So?" in plain[0]


def test_an_unknown_template_names_the_nearest(tmp_path: Path) -> None:
    save_tokenizer(tmp_path, "llama")
    with pytest.raises(ValueError, match=r"unknown chat template 'vicunia'; did you mean 'vicuna'"):
        load_tokenizer(str(tmp_path), template="vicunia")
    with pytest.raises(ValueError, match=r"'chatml' writes <\|im_end\|>.*--chat-template"):
        load_tokenizer(str(tmp_path), template="chatml")
    with pytest.raises(ValueError, match=r"absent\.jinja cannot be read"):
        load_tokenizer(str(tmp_path), template=str(tmp_path / "absent.jinja"))


def test_a_template_whose_answers_cannot_be_found_names_the_remedy(tmp_path: Path) -> None:
    processor = processor_of(tmp_path, "llama", None)
    processor.chat_template = "{% for m in messages %}{{ m.content | upper }}</s>{% endfor %}"
    with pytest.raises(ValueError, match="--chat-template") as caught:
        check_template(processor)
    assert not isinstance(caught.value, Fault)  # not a row's fault: nothing is built
    with pytest.raises(Fault) as refused:
        encode(CONVERSATION, processor)
    assert refused.value.reason == "chat_template"


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% for m in messages %}{{ m.content }}", "the chat template is no Jinja, line 1"),
        ("{% for m in messages %}{{ m.content + 1 }}</s>{% endfor %}", "refuses it"),
        ("{% for m in messages %}{{ m.content }}\n{% endfor %}", "no special token"),
        ("{% generation %}{% endgeneration %}", "no answer"),
    ],
)
def test_a_template_that_no_row_can_mend_is_refused(
    tmp_path: Path, template: str, reason: str
) -> None:
    processor = processor_of(tmp_path, "llama", None)
    processor.chat_template = template
    with pytest.raises(ValueError, match=reason) as caught:
        check_template(processor)
    assert not isinstance(caught.value, Fault)


def test_a_template_may_insist_on_a_system_turn(tmp_path: Path) -> None:
    processor = processor_of(tmp_path, "llama", None)
    processor.chat_template = (
        "{% if messages[0].role != 'system' %}{{ raise_exception('no system turn') }}{% endif %}"
        "{% for m in messages %}{{ m.content }}</s>{% endfor %}"
    )
    check_template(processor)
