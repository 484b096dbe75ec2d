"""A frozen language model says the same of text alone, to the bit; what was changed shows."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

from isthmus import IsthmusForConditionalGeneration, IsthmusProcessor
from isthmus import fusion as fusions
from isthmus.data.sample import ImagePart, Message, Sample, Text
from isthmus.evaluation.benchmarks.conversation_file import ConversationFile
from isthmus.evaluation.results import Result
from isthmus.evaluation.runner import evaluate
from tests.tiny import save_language, save_vision, tiny_image

TEXTS = ["a red circle is left of a blue ring", "what is it?", "seven small stars"]


class Joined:
    """A model, the folder of the language model within, and questions with and without pictures."""

    def __init__(self, folder: Path, language: str, fusion: str) -> None:
        self.language = save_language(folder / "language", language)
        towers = {
            "vision": save_vision(folder / "vision"),
            "language": self.language,
            "connector": "linear",
            "fusion": fusions.default(fusion),
        }
        self.model = IsthmusForConditionalGeneration.from_towers(**towers)
        self.processor = IsthmusProcessor.from_towers(**towers)
        picture = folder / "a.png"
        tiny_image(0).save(picture)
        self.samples = [
            _sample("seen", picture),
            _sample("told", None),
        ]
        self.benchmark = ConversationFile(
            _data(folder / "data.jsonl"), folder, samples=self.samples
        )

    def evaluated(self) -> Result:
        return evaluate(
            self.model,
            self.processor,
            self.benchmark,
            folder="nowhere",
            before=self.language,
            texts=TEXTS,
            max_new_tokens=8,
        )


def _sample(name: str, picture: Path | None) -> Sample:
    shown = (ImagePart(), Text("what?")) if picture else (Text("what?"),)
    turns = (Message("user", shown), Message("assistant", (Text("a ring"),)))
    images = (picture,) if picture else ()
    return Sample(id=name, messages=turns, images=images, task=name)


def _data(file: Path) -> Path:
    file.write_text("{}\n", "utf-8")
    return file


def perplexity(
    stock: AutoModelForCausalLM, processor: IsthmusProcessor, texts: Sequence[str]
) -> float:
    sums, count = 0.0, 0
    for text in texts:
        ids = torch.tensor([processor.tokenizer(text)["input_ids"]])
        with torch.no_grad():
            logits = stock(input_ids=ids).logits
        sums += cross_entropy(logits[0, :-1], ids[0, 1:], reduction="sum").item()
        count += ids.shape[1] - 1
    return math.exp(sums / count)


@pytest.mark.parametrize(
    ("language", "fusion"),
    [
        ("llama", "inline"),
        ("llama", "visual_expert"),
        pytest.param("llama", "gated_cross_attention", marks=pytest.mark.slow),
        pytest.param("gpt2", "inline", marks=pytest.mark.slow),
        pytest.param("gemma2", "inline", marks=pytest.mark.slow),
    ],
)
def test_a_frozen_language_model_is_certified(tmp_path: Path, language: str, fusion: str) -> None:
    joined = Joined(tmp_path, language, fusion)
    result = joined.evaluated()
    assert result.text is not None
    assert result.text.is_identical
    assert result.text.weights == result.text.weights_before
    assert result.text.perplexity == result.text.perplexity_before
    stock = AutoModelForCausalLM.from_pretrained(joined.language)
    assert result.text.perplexity == pytest.approx(
        perplexity(stock, joined.processor, TEXTS), rel=1e-5
    )
    certificate = result.text.lines()[0]
    assert "bit-identical" in certificate
    assert ": yes (weights" in certificate
    before = result.baselines["before"]
    assert {name: score.value for name, score in before.items()} == {
        name: result.metrics[name].value for name in before
    }
    assert "told_exact_match" in before
    assert "seen_exact_match" not in before


@pytest.mark.parametrize("language", ["llama", "gpt2"])
def test_one_changed_weight_is_found_and_the_model_stays_as_it_is(
    tmp_path: Path, language: str
) -> None:
    joined = Joined(tmp_path, language, "inline")
    intact = joined.evaluated()
    norm = joined.model.model.language_model.get_submodule(
        {"llama": "norm", "gpt2": "ln_f"}[language]
    )
    with torch.no_grad():
        norm.weight[3] += 0.5
    kept = {name: value.clone() for name, value in joined.model.state_dict().items()}
    result = joined.evaluated()
    assert result.text is not None
    assert intact.text is not None
    assert not result.text.is_identical
    assert result.text.weights != result.text.weights_before
    assert result.text.weights_before == intact.text.weights
    assert result.text.perplexity_before == intact.text.perplexity
    assert result.text.perplexity != result.text.perplexity_before
    certificate = result.text.lines()[0]
    assert "bit-identical" in certificate
    assert ": no (weights" in certificate
    now = joined.model.state_dict()
    assert all(torch.equal(kept[name], now[name]) for name in kept)


def test_the_answers_before_are_those_of_the_language_model_before(tmp_path: Path) -> None:
    joined = Joined(tmp_path, "llama", "inline")
    intact = joined.evaluated()
    (told,) = (row for row in intact.rows if row.id == "told")
    told_before = Sample(
        id="told",
        messages=(
            Message("user", (Text("what?"),)),
            Message("assistant", (Text(told.prediction),)),
        ),
        images=(),
        task="told",
    )
    joined.benchmark = ConversationFile(
        tmp_path / "data.jsonl", tmp_path, samples=[joined.samples[0], told_before]
    )
    with torch.no_grad():
        joined.model.lm_head.weight.copy_(-joined.model.lm_head.weight)
    result = joined.evaluated()
    assert result.metrics["told_exact_match"].value == 0
    assert result.baselines["before"]["told_exact_match"].value == 1
    assert result.flat()["told_exact_match_before"] == 1


def test_an_encoder_has_a_certificate_and_no_perplexity(tmp_path: Path) -> None:
    result = Joined(tmp_path, "t5", "inline").evaluated()
    assert result.text is not None
    assert result.text.is_identical
    assert result.text.perplexity is None
    assert len(result.text.lines()) == 1


def test_another_language_model_and_texts_of_nothing_are_refused(tmp_path: Path) -> None:
    joined = Joined(tmp_path, "llama", "inline")
    joined.language = save_language(tmp_path / "other", "gpt2")
    with pytest.raises(ValueError, match="another architecture"):
        joined.evaluated()
    with pytest.raises(ValueError, match="none of 1 texts has two tokens"):
        evaluate(
            joined.model,
            joined.processor,
            joined.benchmark,
            folder="",
            before=str(tmp_path / "language"),
            texts=[""],
        )
