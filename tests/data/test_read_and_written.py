"""A model with an encoder reads all that led to an answer, and writes exactly that answer."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from isthmus import IsthmusProcessor, chat_templates
from isthmus.axes import IGNORED_LABEL
from isthmus.data.conversation import encode, examples, prompt
from isthmus.data.dataset import ConversationDataset
from isthmus.data.faults import Fault
from isthmus.data.rendering import check_template
from isthmus.data.sample import ImagePart, Message, Sample, Text
from isthmus.data.vetting import encoding_of
from tests.tiny import save_t5, save_vision, t5_byte_tokenizer, tiny_image
from tests.tokenizers_of_families import t5_tokenizer

TOKENIZERS = {"pieces": t5_tokenizer, "bytes": t5_byte_tokenizer}
IMAGE = "<image>"


@pytest.fixture(scope="module", params=TOKENIZERS)
def processor(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> IsthmusProcessor:
    folder = tmp_path_factory.mktemp("towers")
    tokenizer: PreTrainedTokenizerBase = TOKENIZERS[request.param]()
    return IsthmusProcessor.from_towers(
        vision=save_vision(folder / "vision"),
        language=save_t5(folder / "t5", tokenizer),
        connector="linear",
    )


def sample(*turns: tuple[str, str], images: Sequence[int] = (1,)) -> Sample:
    """A conversation whose turns show as many images as are told of the first ones."""
    shown = [*images, *[0] * (len(turns) - len(images))]
    return Sample(
        id="row",
        messages=tuple(
            Message(role, (*(ImagePart() for _ in range(count)), Text(text)))
            for (role, text), count in zip(turns, shown, strict=True)
        ),
        images=tuple(Path(f"/{n}.png") for n in range(sum(images))),
    )


TALK = sample(
    ("system", "In short."),
    ("user", "What colour?"),
    ("assistant", "It is red."),
    ("user", "And these?"),
    ("assistant", "three stars"),
    ("user", "Thanks."),
    images=(0, 1, 0, 2),
)


def text_of(ids: torch.Tensor, processor: IsthmusProcessor) -> str:
    """Text with one mark for each image, its blanks as T5 sees them: all alike."""
    text = processor.tokenizer.decode(ids).replace(IMAGE * processor.num_image_tokens, IMAGE)
    text = " ".join(text.split()).replace(" </s>", "</s>")
    return text.replace(f" {IMAGE}", IMAGE).replace(f"{IMAGE} ", IMAGE)


def test_each_answer_is_an_example_with_all_that_led_to_it(processor: IsthmusProcessor) -> None:
    first, second = examples([TALK], processor)
    assert (first.id, second.id) == ("row", "row#2")
    assert (len(first.images), len(second.images)) == (1, 3)
    one, two = (encode(each, processor) for each in (first, second))
    asked = f"In short.{IMAGE}What colour?"
    assert text_of(one.input_ids, processor) == f"{asked}</s>"
    assert text_of(one.labels, processor) == "It is red.</s>"
    assert text_of(two.input_ids, processor) == f"{asked} It is red.{IMAGE * 2}And these?</s>"
    assert text_of(two.labels, processor) == "three stars</s>"


@pytest.mark.parametrize("answer", ["red", "It is red, and larger", "[[012,345,678,901]]"])
def test_labels_are_the_answers_tokens_and_the_end(
    processor: IsthmusProcessor, answer: str
) -> None:
    encoded = encode(sample(("user", f"{answer}</s>"), ("assistant", answer)), processor)
    words = processor.tokenizer(answer, add_special_tokens=False)["input_ids"]
    assert encoded.labels.tolist() == [*words, processor.tokenizer.eos_token_id]
    assert IGNORED_LABEL not in encoded.labels
    assert encoded.input_ids[-1] == processor.tokenizer.eos_token_id
    assert (encoded.input_ids == processor.image_token_id).sum() == processor.num_image_tokens


def test_stock_tools_read_the_same(processor: IsthmusProcessor) -> None:
    picture = {"type": "image", "image": tiny_image()}
    said = [("user", "Hm?"), ("assistant", "red"), ("user", "So?")]
    chat = [{"role": role, "content": [{"type": "text", "text": words}]} for role, words in said]
    chat[0]["content"].insert(0, picture)
    stock = processor.apply_chat_template(
        chat, add_generation_prompt=True, tokenize=True, return_dict=True
    )
    ours = sample(("user", "Hm?"), ("assistant", "red"), ("user", "So?"), ("assistant", "no"))
    assert encode(ours, processor).input_ids.tolist() == list(stock["input_ids"][0])
    assert prompt(ours.messages, processor) == list(stock["input_ids"][0])


@pytest.mark.parametrize("choice", [c for c in chat_templates() if c != "chatml"])
def test_any_template_says_what_is_read_and_none_what_is_written(
    tmp_path: Path, choice: str
) -> None:
    processor = IsthmusProcessor.from_towers(
        vision=save_vision(tmp_path / "vision"),
        language=save_t5(tmp_path / "t5"),
        connector="linear",
        chat_template=choice,
    )
    check_template(processor)
    encoded = encode(examples([TALK], processor)[1], processor)
    read = processor.tokenizer.decode(encoded.input_ids)
    assert read.endswith("</s>")
    assert all(words in read for words in ("In short.", "What colour?", "It is red.", "And these?"))
    assert "three stars" not in read
    assert processor.tokenizer.decode(encoded.labels) == "three stars</s>"


def test_a_batch_has_labels_of_a_length_of_their_own(processor: IsthmusProcessor) -> None:
    long = sample(("user", "Where is the moon?" * 9), ("assistant", "on the left"), images=())
    short = sample(("user", "Where?"), ("assistant", "yes"), images=())
    dataset = ConversationDataset([long, short, TALK], processor)
    assert len(dataset) == len(dataset.lengths()) == 4
    assert dataset.lengths()[2] < dataset.lengths()[3]
    batch = dataset.batch([0, 1])
    assert batch.decoded
    assert batch.input_ids.shape[1] % 32 == batch.labels.shape[1] % 8 == 0
    assert batch.labels.shape[1] < batch.input_ids.shape[1]
    assert dataset.batch([1]).labels.shape[1] == 8
    answers = [dataset.conversation(n).labels.long() for n in (0, 1)]
    for row, answer in zip(batch.labels, answers, strict=True):
        assert torch.equal(row[: len(answer)], answer)
        assert (row[len(answer) :] == IGNORED_LABEL).all()
    assert batch.num_supervised == sum(map(len, answers))
    read = sum(len(dataset.conversation(n).input_ids) for n in (0, 1))
    assert batch.num_positions == read + batch.num_supervised


@pytest.mark.parametrize(
    ("answer", "reason", "said"),
    [
        ("an <image>", "image_marks", "row: 1 image tokens '<image>' for 0 images"),
        ("\u65e5", "no_label", "row: no supervised token; the tokenizer knows nothing of"),
        ("red " * 40, "too_long", r"row: \d+ tokens, but the language model takes 50"),
    ],
)
def test_an_answer_that_cannot_be_written_is_the_rows_fault(
    tmp_path: Path, answer: str, reason: str, said: str
) -> None:
    processor = IsthmusProcessor.from_towers(
        vision=save_vision(tmp_path / "vision"),
        language=save_t5(tmp_path / "t5", t5_tokenizer()),
        connector="linear",
    )
    with pytest.raises(Fault, match=said) as caught:
        encode(sample(("user", "What?"), ("assistant", answer)), processor, 50)
    assert caught.value.reason == reason


def test_the_way_of_reading_is_saved_and_told(processor: IsthmusProcessor, tmp_path: Path) -> None:
    processor.save_pretrained(tmp_path)
    again = IsthmusProcessor.from_pretrained(tmp_path)
    assert again.is_encoder_decoder
    one, two = examples([TALK], again)
    assert encode(two, again).labels.tolist() == encode(two, processor).labels.tolist()
    told = encoding_of(again, None)
    again.is_encoder_decoder = False
    assert encoding_of(again, None) != told
    assert examples([TALK], again) == [TALK]
    assert one != two


def test_a_decoder_that_could_not_end_is_refused(tmp_path: Path) -> None:
    endless = t5_byte_tokenizer()
    language = save_t5(tmp_path / "t5", endless)
    endless.eos_token = None
    endless.save_pretrained(language)
    with pytest.raises(ValueError, match="names no end token"):
        IsthmusProcessor.from_towers(
            vision=save_vision(tmp_path / "vision"), language=language, connector="linear"
        )
