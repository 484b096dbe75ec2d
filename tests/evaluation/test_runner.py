from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from isthmus.data.conversation import encode
from isthmus.data.sample import Message, Sample, Text
from isthmus.evaluation.requests import Answer, Choose, Generate, Locate, Prompt, Rank, Request
from isthmus.evaluation.runner import answer
from isthmus.geometry.boxes import parse_boxes
from tests.evaluation.conftest import TinyVlm
from tests.tiny import tiny_model

SUMMED = 1e-3
"""Sums of some twenty float32 log-probabilities, in another order."""


@contextmanager
def end_token(vlm: TinyVlm, token: int) -> Iterator[None]:
    config = vlm.model.generation_config
    before, config.eos_token_id = config.eos_token_id, token
    try:
        yield
    finally:
        config.eos_token_id = before


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


def tokens(vlm: TinyVlm, text: str) -> list[int]:
    return vlm.processor.tokenizer(text, add_special_tokens=False)["input_ids"]


def test_an_answer_does_not_depend_on_the_size_of_its_batch(vlm: TinyVlm) -> None:
    requests = varied(vlm)
    alone = run(vlm, *requests, batch_size=1)
    together = run(vlm, *requests, batch_size=8)
    assert {key: one.text for key, one in alone.items()} == {
        key: one.text for key, one in together.items()
    }
    assert len({one.text for one in alone.values()}) > 5


def test_an_answer_ends_at_the_end_token(vlm: TinyVlm) -> None:
    asked = Generate(id="a", prompt=vlm.prompt("what?", 1), max_new_tokens=8)
    free = run(vlm, asked)["a"]
    assert not free.finished
    written = vlm.model.generate(**_inputs(vlm, asked), do_sample=False, max_new_tokens=8)[
        0
    ].tolist()[-8:]
    third = written[3]
    with end_token(vlm, third):
        ended = run(vlm, asked, *varied(vlm))["a"]
    first = written.index(third)
    assert ended.finished
    assert ended.text == vlm.processor.tokenizer.decode(written[:first]).strip()
    assert free.text == vlm.processor.tokenizer.decode(written).strip()


def test_each_answer_has_its_own_limit(vlm: TinyVlm) -> None:
    long, short = (
        Generate(id=str(limit), prompt=vlm.prompt("what?", 1), max_new_tokens=limit)
        for limit in (8, 3)
    )
    both = run(vlm, long, short)
    assert both["3"] == run(vlm, short)["3"]
    assert both["8"] == run(vlm, long)["8"]
    assert both["3"].text != both["8"].text


def test_an_answer_ends_where_the_positions_do(
    vlm: TinyVlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Generate(id="a", prompt=vlm.prompt("what?", 1), max_new_tokens=8)
    whole = run(vlm, asked)["a"]
    length = _inputs(vlm, asked)["input_ids"].shape[1]
    context = vlm.model.config.text_config
    monkeypatch.setattr(context, "max_position_embeddings", length + 3)
    cut = run(vlm, asked)["a"]
    assert not cut.finished
    assert whole.text.startswith(cut.text)
    assert cut == run(vlm, replace(asked, max_new_tokens=3))["a"]
    monkeypatch.setattr(context, "max_position_embeddings", length)
    with pytest.raises(ValueError, match=f"a: the prompt has {length} tokens .* takes {length}"):
        run(vlm, asked)


def test_the_positions_that_another_lacks_are_not_missed(
    vlm: TinyVlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    short, long = (
        Generate(id=words, prompt=vlm.prompt(words, 1), max_new_tokens=8)
        for words in ("what?", "what, and where?")
    )
    expected = run(vlm, short)["what?"]
    length = _inputs(vlm, long)["input_ids"].shape[1]
    monkeypatch.setattr(vlm.model.config.text_config, "max_position_embeddings", length + 3)
    both = run(vlm, short, long)
    assert both["what?"] == expected
    assert both["what, and where?"] == run(vlm, replace(long, max_new_tokens=3))[long.id]


def test_with_beams_no_answer_depends_on_the_size_of_its_batch(vlm: TinyVlm) -> None:
    requests = [
        replace(request, max_new_tokens=(3, 8)[n % 2]) for n, request in enumerate(varied(vlm))
    ]
    alone = run(vlm, *requests, batch_size=1, num_beams=3)
    assert run(vlm, *requests, batch_size=8, num_beams=3) == alone
    assert run(vlm, *requests) != alone
    assert run(vlm, *requests, num_beams=1) == run(vlm, *requests)


def test_beams_find_likelier_answers_than_greed(
    vlm: TinyVlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate, likelihoods = vlm.model.generate, []

    def spied(**given: object) -> torch.Tensor:
        written = generate(**given)
        prompt = given["input_ids"].shape[1]
        mask = torch.ones_like(written)
        mask[:, :prompt] = given["attention_mask"]
        told = vlm.model(
            input_ids=written,
            attention_mask=mask,
            position_ids=(mask.cumsum(1) - 1).clamp(min=0),
            patch_features=given["patch_features"],
        ).logits.log_softmax(-1)
        chosen = told[:, prompt - 1 : -1].gather(2, written[:, prompt:, None])
        likelihoods.append(chosen.sum(dim=(1, 2)))
        return written

    monkeypatch.setattr(vlm.model, "generate", spied)
    requests = [r for r in varied(vlm) if r.prompt.images]
    answers = [run(vlm, *requests, num_beams=num) for num in (1, 4)]
    # Of one length, so that the sum decides as the mean does.
    assert not any(each.finished for given in answers for each in given.values())
    greedy, beams = likelihoods
    assert (beams >= greedy - SUMMED).all()
    assert (beams > greedy + SUMMED).any()


def test_beams_are_refused_where_images_have_one_place(tmp_path: Path, vlm: TinyVlm) -> None:
    gated = tiny_model(tmp_path, connector="linear", fusion="gated_cross_attention")
    with pytest.raises(ValueError, match="num_beams is 2, but with the fusion 'gated_cross_att"):
        answer(*gated, varied(vlm), num_beams=2)
    assert len(answer(*gated, varied(vlm)[:1], num_beams=1)) == 1


@pytest.mark.parametrize("name", ["batch_size", "num_beams"])
def test_a_count_below_one_is_refused(vlm: TinyVlm, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is 0; expected 1 or more"):
        run(vlm, varied(vlm)[0], **{name: 0})


def test_boxes_are_read_out_of_the_answer(vlm: TinyVlm, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "[[10,20,30,40;1]]"
    monkeypatch.setattr(type(vlm.processor.tokenizer), "decode", lambda *_, **__: text)
    asked = Locate(id="a", prompt=vlm.prompt("where?", 0), max_new_tokens=1, size=(200, 100))
    given = run(vlm, asked)["a"]
    assert given.boxes == parse_boxes(text, (200, 100)).boxes == ((21.0, 20.5, 61.0, 40.5),)
    assert given.unread == ("1",)


def test_a_blind_model_gets_the_words_alone(vlm: TinyVlm) -> None:
    first, second = (
        Generate(id=f"{n}", prompt=vlm.prompt("what?", n), max_new_tokens=8) for n in (0, 1)
    )
    seeing = run(vlm, first, second)
    blind = run(vlm, first, second, blind=True)
    words = run(vlm, Generate(id="w", prompt=vlm.prompt("what?"), max_new_tokens=8))
    assert seeing["0"].text != seeing["1"].text
    assert blind["0"].text == blind["1"].text == words["w"].text


def likelihood_by_loss(vlm: TinyVlm, asked: Choose, choice: str) -> float:
    """The same number by another way: the training loss of the conversation, summed."""
    turn = Message("assistant", (Text(choice),))
    sample = Sample(id="x", messages=(*asked.prompt.messages, turn), images=asked.prompt.images)
    encoded = encode(sample, vlm.processor)
    inputs = _inputs(vlm, asked)
    inputs["input_ids"] = encoded.input_ids.long()[None]
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    with torch.inference_mode():
        loss = vlm.model(**inputs, labels=encoded.labels.long()[None], num_items_in_batch=1).loss
    return -loss.item()


def test_a_choice_scores_the_summed_log_likelihood_of_its_tokens(vlm: TinyVlm) -> None:
    choices = ("a", "bb", "quite long")
    asked = Choose(id="c", prompt=vlm.prompt("which?", 2), choices=choices)
    other = Choose(id="d", prompt=vlm.prompt("or which of them?"), choices=("no", "yes"))
    given = run(vlm, asked, other)
    expected = [likelihood_by_loss(vlm, asked, choice) for choice in choices]
    assert given["c"].log_likelihoods == pytest.approx(expected, abs=SUMMED)
    assert given["c"].text == choices[expected.index(max(expected))]
    small = run(vlm, asked, other, batch_size=1)
    assert small["c"].log_likelihoods == pytest.approx(expected, abs=SUMMED)


def test_a_choice_may_be_longer_than_all_that_stands_behind_the_picture_of_another(
    vlm: TinyVlm,
) -> None:
    choices = ("a", "quite long " * 5)
    asked = Choose(id="c", prompt=vlm.prompt("?", 2), choices=choices)
    expected = [likelihood_by_loss(vlm, asked, choice) for choice in choices]
    assert run(vlm, asked)["c"].log_likelihoods == pytest.approx(expected, rel=1e-4)


def test_choose_picks_what_the_model_was_taught(vlm: TinyVlm) -> None:
    asked = Choose(id="c", prompt=vlm.prompt("which?", 2), choices=("a", "b", "d"))
    values = run(vlm, asked)["c"].log_likelihoods
    worst = asked.choices[values.index(min(values))]
    head = vlm.model.lm_head.weight
    (token,) = tokens(vlm, worst)
    before = head.detach().clone()
    # the row of the worst choice becomes the direction in which the model looks at that place
    try:
        with torch.no_grad():
            hidden = vlm.model.model(**_inputs(vlm, asked)).last_hidden_state[0, -1]
            head[token] = hidden * 100
        assert run(vlm, asked)["c"].text == worst
    finally:
        with torch.no_grad():
            head.copy_(before)


def test_only_the_last_turn_is_scored(vlm: TinyVlm) -> None:
    turns = (
        Message("user", (Text("hm?"),)),
        Message("assistant", (Text("an earlier answer"),)),
        Message("user", (Text("and?"),)),
    )
    choices = ("a", "bb")
    asked = Choose(id="c", prompt=Prompt(messages=turns), choices=choices)
    given = run(vlm, asked)["c"].log_likelihoods
    earlier = likelihood_by_loss(
        vlm, Choose(id="e", prompt=Prompt(messages=turns[:1]), choices=choices), "an earlier answer"
    )
    for value, choice in zip(given, choices, strict=True):
        assert value == pytest.approx(likelihood_by_loss(vlm, asked, choice) - earlier, abs=SUMMED)


def test_a_ranking_scores_pairs_with_prompts_of_their_own(vlm: TinyVlm) -> None:
    prompts = [vlm.prompt("what?", n) for n in (0, 1, 2)]
    ranked = run(
        vlm,
        Rank(id="r", candidates=tuple((prompt, "a cat") for prompt in prompts)),
        batch_size=2,
    )
    expected = [
        likelihood_by_loss(vlm, Choose(id="c", prompt=prompt, choices=()), "a cat")
        for prompt in prompts
    ]
    assert ranked["r"].log_likelihoods == pytest.approx(expected, abs=SUMMED)
    assert max(expected) - min(expected) > 10 * SUMMED


def test_a_picture_is_encoded_once_in_a_batch(
    vlm: TinyVlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    encode_images = vlm.model.encode_images

    def counted(pixels: torch.Tensor) -> object:
        seen.append(len(pixels))
        return encode_images(pixels)

    monkeypatch.setattr(vlm.model, "encode_images", counted)
    run(vlm, Choose(id="c", prompt=vlm.prompt("which?", 2), choices=("a", "b", "d")))
    assert seen == [1]
    seen.clear()
    run(vlm, *varied(vlm), batch_size=11)
    assert seen == [4]


def test_the_mode_of_the_model_is_left_as_it_was(vlm: TinyVlm) -> None:
    vlm.model.train()
    vlm.model.model.vision_tower.eval()  # as it is while the rest is trained
    try:
        run(vlm, varied(vlm)[0])
        assert vlm.model.training
        assert vlm.model.lm_head.training
        assert not vlm.model.model.vision_tower.training
    finally:
        vlm.model.eval()


def test_ids_go_with_one_request_each(vlm: TinyVlm) -> None:
    with pytest.raises(ValueError, match="share an id"):
        run(vlm, varied(vlm)[0], varied(vlm)[0])


def _inputs(vlm: TinyVlm, asked: Generate | Choose) -> dict[str, torch.Tensor]:
    """The request by way of the processor, as a user of transformers would write it."""
    conversation = [turn.to_chat() for turn in asked.prompt.messages]
    text = vlm.processor.apply_chat_template(conversation, add_generation_prompt=True)
    images = [Image.open(path) for path in asked.prompt.images]
    inputs = vlm.processor(images=images or None, text=[text], return_tensors="pt")
    return dict(inputs)
