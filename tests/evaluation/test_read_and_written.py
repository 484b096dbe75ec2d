"""A model with an encoder is asked like any other: answers and likelihoods are its decoder's."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import AutoModelForSeq2SeqLM

from isthmus import IsthmusForConditionalGeneration, IsthmusProcessor
from isthmus.data.sample import Message, Sample, Text
from isthmus.evaluation.generation import askable, room_after
from isthmus.evaluation.requests import Answer, Choose, Generate, Prompt, Rank, Request
from isthmus.evaluation.runner import answer
from tests.evaluation.conftest import TinyVlm
from tests.tiny import save_t5, save_vision, tiny_image

SUMMED = 1e-3
"""Sums of some twenty float32 log-probabilities, in another order."""


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> str:
    # A head of its own is not scaled down, so that answers differ.
    return save_t5(tmp_path_factory.mktemp("t5"), tie_word_embeddings=False)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, language: str) -> TinyVlm:
    folder = tmp_path_factory.mktemp("reader")
    towers = {"vision": save_vision(folder / "vision"), "language": language}
    pictures = [folder / f"{seed}.png" for seed in range(4)]
    for seed, picture in enumerate(pictures):
        tiny_image(seed).save(picture)
    torch.manual_seed(0)
    return TinyVlm(
        IsthmusForConditionalGeneration.from_towers(**towers, connector="linear"),
        IsthmusProcessor.from_towers(**towers, connector="linear"),
        pictures,
    )


def run(vlm: TinyVlm, *requests: Request, **options: object) -> dict[str, Answer]:
    return answer(vlm.model, vlm.processor, requests, **options)


def varied(vlm: TinyVlm) -> list[Generate]:
    shown = [(), (0,), (1, 2), (3,), (0,)]
    return [
        Generate(
            id=f"{n}", prompt=vlm.prompt("why " * (n % 4) + "?", *shown[n % 5]), max_new_tokens=8
        )
        for n in range(11)
    ]


def asked(vlm: TinyVlm, prompt: Prompt) -> dict[str, torch.Tensor]:
    """The prompt by way of the processor, as a user of transformers would write it."""
    text = vlm.processor.apply_chat_template(
        [turn.to_chat() for turn in prompt.messages], add_generation_prompt=True
    )
    images = [Image.open(path) for path in prompt.images]
    return dict(vlm.processor(images=images or None, text=[text], return_tensors="pt"))


def test_an_answer_does_not_depend_on_the_size_of_its_batch(reader: TinyVlm) -> None:
    requests = varied(reader)
    alone, together = (run(reader, *requests, batch_size=size) for size in (1, 8))
    assert {key: one.text for key, one in alone.items()} == {
        key: one.text for key, one in together.items()
    }
    assert len({one.text for one in alone.values()}) > 3


def test_with_beams_no_answer_depends_on_the_size_of_its_batch(reader: TinyVlm) -> None:
    requests = [
        replace(request, max_new_tokens=(3, 8)[n % 2]) for n, request in enumerate(varied(reader))
    ]
    alone = run(reader, *requests, batch_size=1, num_beams=3)
    assert run(reader, *requests, batch_size=8, num_beams=3) == alone
    assert run(reader, *requests) != alone


def test_without_pictures_answers_and_likelihoods_are_those_of_the_stock_model(
    reader: TinyVlm, language: str
) -> None:
    stock = AutoModelForSeq2SeqLM.from_pretrained(language).eval()
    tokenizer = reader.processor.tokenizer
    prompt = reader.prompt("why is it red?")
    given = run(
        reader,
        Generate(id="g", prompt=prompt, max_new_tokens=8),
        Choose(id="c", prompt=prompt, choices=("yes", "not at all")),
    )
    read = tokenizer("why is it red?\n", return_tensors="pt")
    written = stock.generate(**read, max_new_tokens=8, do_sample=False)[0, 1:]
    assert given["g"].text == tokenizer.decode(written, skip_special_tokens=True).strip()
    for choice, found in zip(("yes", "not at all"), given["c"].log_likelihoods, strict=True):
        labels = tokenizer(choice, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            loss = stock(**read, labels=labels).loss
        assert found == pytest.approx(-loss.item() * labels.shape[1], abs=SUMMED)


def by_hand(vlm: TinyVlm, prompt: Prompt, answer: str) -> float:
    """The log-likelihood of an answer, one token after the other."""
    inputs = asked(vlm, prompt)
    written = [vlm.model.config.text_config.decoder_start_token_id]
    total = 0.0
    for token in vlm.processor.tokenizer(answer)["input_ids"]:
        with torch.inference_mode():
            logits = vlm.model(**inputs, decoder_input_ids=torch.tensor([written])).logits[0, -1]
        total += logits.log_softmax(-1)[token].item()
        written.append(token)
    return total


def test_likelihoods_are_those_of_the_decoder_token_by_token(reader: TinyVlm) -> None:
    turns = (
        Message("user", (Text("hm?"),)),
        Message("assistant", (Text("an earlier answer"),)),
        Message("user", (Text("and?"),)),
    )
    one, two = reader.prompt("which?", 2), Prompt(messages=turns)
    choices = ("a", "bb", "quite long")
    three = (reader.prompt("what do you see?", 0), reader.prompt("?", 1, 2))
    requests = (
        Choose(id="one", prompt=one, choices=choices),
        Choose(id="two", prompt=two, choices=choices),
        Rank(id="rank", candidates=tuple((prompt, "a cat") for prompt in three)),
    )
    expected = {
        "one": [by_hand(reader, one, choice) for choice in choices],
        "two": [by_hand(reader, two, choice) for choice in choices],
        "rank": [by_hand(reader, prompt, "a cat") for prompt in three],
    }
    for size in (1, 8):
        given = run(reader, *requests, batch_size=size)
        for key, values in expected.items():
            assert given[key].log_likelihoods == pytest.approx(values, abs=SUMMED)
    best = max(range(3), key=expected["one"].__getitem__)
    assert given["one"].text == choices[best]
    assert abs(expected["rank"][0] - expected["rank"][1]) > 10 * SUMMED


def test_an_answer_ends_at_the_end_token_and_at_its_limit(
    reader: TinyVlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = reader.prompt("what?", 1)
    long, short = (Generate(id=f"{limit}", prompt=prompt, max_new_tokens=limit) for limit in (8, 3))
    written = reader.model.generate(**asked(reader, prompt), max_new_tokens=8, do_sample=False)
    tokens = written[0, 1:].tolist()
    decode = reader.processor.tokenizer.decode
    free = run(reader, long, short)
    assert free["8"].text == decode(tokens).strip()
    assert free["3"].text == decode(tokens[:3]).strip()
    assert not free["8"].finished
    third = tokens[2]
    monkeypatch.setattr(reader.model.generation_config, "eos_token_id", third)
    ended = run(reader, long, *varied(reader)[:3])["8"]
    assert ended.finished
    assert ended.text == decode(tokens[: tokens.index(third)]).strip()


def test_a_blind_model_gets_the_words_alone(reader: TinyVlm) -> None:
    first, second = (
        Generate(id=f"{n}", prompt=reader.prompt("what?", n), max_new_tokens=8) for n in (0, 1)
    )
    blind = run(reader, first, second, blind=True)
    words = run(reader, Generate(id="w", prompt=reader.prompt("what?"), max_new_tokens=8))
    assert blind["0"].text == blind["1"].text == words["w"].text
    values = [by_hand(reader, reader.prompt("what?", *shown), "x") for shown in ((0,), (1,), ())]
    assert len(set(values)) == 3


def test_positions_of_what_is_read_and_written_are_apart(reader: TinyVlm) -> None:
    assert reader.model.config.max_positions is None  # T5 counts distances
    processor = reader.processor
    assert room_after([5] * 900, None, processor, "a") is None
    assert room_after([5] * 10, 10, processor, "a") == 10
    with pytest.raises(ValueError, match=r"a: the prompt has 11 tokens .* takes 10; shorten"):
        room_after([5] * 11, 10, processor, "a")
    turns = (Message("user", (Text("why?"),)), Message("assistant", (Text("so"),)))
    askable(processor, 6)(Sample(id="a", messages=turns))
    with pytest.raises(ValueError, match="takes 5"):
        askable(processor, 5)(Sample(id="a", messages=turns))


def test_a_saved_reader_answers_as_before(reader: TinyVlm, tmp_path: Path) -> None:
    import isthmus

    reader.model.save_pretrained(tmp_path)
    reader.processor.save_pretrained(tmp_path)
    again = TinyVlm(*isthmus.load(tmp_path), reader.pictures)
    requests = varied(reader)
    assert run(again, *requests) == run(reader, *requests)
