"""What packing several samples into a row saves, and that it changes no loss.

`python -m benchmarks.packing --output FILE`

The samples are a quarter each: text alone, and one, four and twelve questions about a picture. A
pass over them is trained (forward, backward, optimizer) in batches of random samples and in packed
rows, in turn; the speed-up is the median of the ratios. The prediction is the ratio of all
positions, the padding included. Batches of both have about as many positions, and what the tower
saw is kept, so that the language model's work is what is measured.

`max_loss_difference` is the largest difference, in nats, between the loss of a sample in a packed
row and alone, over six families of language models with random weights.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, final

import torch
import tyro
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from benchmarks.outcome import publish
from benchmarks.scratch import scratch_cache
from benchmarks.side_by_side import compare
from isthmus import IsthmusForConditionalGeneration, IsthmusProcessor, recipes
from isthmus.axes import IGNORED_LABEL, Batch
from isthmus.cli._quiet import hush_libraries
from isthmus.data import sources
from isthmus.data.dataset import ConversationDataset
from isthmus.data.order import epoch_batches
from isthmus.data.packing import PackedDataset, Packing
from isthmus.data.sample import Sample
from isthmus.microworld import towers
from isthmus.objectives.language_modeling import LanguageModeling
from isthmus.training.data import MicroworldData
from isthmus.training.examples import Dataset
from isthmus.training.models import ModelConfig
from isthmus.training.resolve import build_model, microworld_files

NUM = 40
"""Samples of each kind."""
MAX_TOKENS = 320
ROWS, PACKED_ROWS = 8, 6
"""Of a batch, so that both have about as many positions."""
_SIZES = {"num_hidden_layers": 2, "hidden_size": 48, "num_attention_heads": 4}
_LLAMA = {**_SIZES, "intermediate_size": 64, "num_key_value_heads": 2, "head_dim": 12}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": _LLAMA,
    "qwen3": _LLAMA,
    "mistral": _LLAMA,
    "gemma2": {**_LLAMA, "sliding_window": 16},
    "opt": {**_SIZES, "ffn_dim": 64, "word_embed_proj_dim": 48},
    "gpt2": {"n_layer": 2, "n_embd": 48, "n_head": 4},
}


@final
@dataclass(frozen=True)
class Options:
    """Measure packing."""

    output: Path | None = None
    """JSON file that gets the numbers, too."""
    repetitions: int = 5
    """Pairs of measured passes; one more warms up."""


def main(options: Options) -> None:
    """Measures padding, speed and losses, and publishes the numbers."""
    hush_libraries()
    torch.manual_seed(0)
    with scratch_cache():
        samples = mixture()
        model, processor = build_model(_quick())
        dataset = ConversationDataset(samples, processor, features=kept(model, processor, samples))
        packed = PackedDataset(dataset, Packing(max_tokens=MAX_TOKENS))
        apart = batches(dataset, ROWS, by_length=False)
        together = batches(packed, PACKED_ROWS, by_length=True)
        rounds = compare(
            {"padded": lambda: learn(model, apart), "packed": lambda: learn(model, together)},
            base="packed",
            repetitions=options.repetitions,
        )
        numbers = {
            "padding_share_before": padding(apart),
            "padding_share_by_length": padding(batches(dataset, ROWS, by_length=True)),
            "padding_share": padding(together),
            "speedup": median(rounds["padded"].clock),
            "speedup_processor": median(rounds["padded"].processor),
            "predicted_speedup": positions(apart) / positions(together),
            "max_loss_difference": max(map(loss_difference, FAMILIES)),
        }
    publish(
        {**numbers, "repetitions": options.repetitions},
        options.output,
        command=f"python -m benchmarks.packing --repetitions {options.repetitions}",
    )


def mixture() -> list[Sample]:
    """Returns samples of four lengths."""
    kinds = (
        MicroworldData(split="train", num=NUM, turns=1, tasks=("arithmetic", "sorting")),
        MicroworldData(split="train", num=NUM, turns=1, tasks=("colour", "shape", "count")),
        MicroworldData(split="train", num=NUM, turns=4, tasks=("colour", "shape", "count")),
        MicroworldData(split="train", num=NUM, turns=12, tasks=("colour", "shape", "count")),
    )
    found = []
    for number, kind in enumerate(kinds):
        files = microworld_files(kind)
        rows = sources.read(files.file, files.image_root)
        found += [replace(row, id=f"{number}-{row.id}") for row in rows]
    return found


def kept(
    model: IsthmusForConditionalGeneration, processor: IsthmusProcessor, samples: Sequence[Sample]
) -> Any:
    """Returns what looks up the tower's outputs, which are computed here once."""
    plain = ConversationDataset(samples, processor)
    seen: dict[Path, Tensor] = {}
    for number, sample in enumerate(samples):
        if sample.images:
            pixels = plain.batch([number]).pixel_values
            assert pixels is not None
            with torch.no_grad():
                seen[sample.images[0]] = model.encode_images(pixels).states[0]
    return lambda paths: torch.stack([seen[path] for path in paths])


def batches(dataset: Dataset, rows: int, *, by_length: bool) -> list[Batch]:
    """Returns the batches of a pass, of samples alike in length or of any."""
    lengths = dataset.lengths() if by_length else [1] * len(dataset)
    order = epoch_batches(lengths, batch_size=rows, seed=0, epoch=0)
    return [dataset.batch(indices) for indices in order]


def positions(made: Sequence[Batch]) -> int:
    """Returns all positions, padding included."""
    return sum(batch.input_ids.numel() for batch in made)


def padding(made: Sequence[Batch]) -> float:
    """Returns the share of padding among them."""
    return 1 - sum(batch.num_positions for batch in made) / positions(made)


def learn(model: IsthmusForConditionalGeneration, made: Sequence[Batch]) -> None:
    """Trains connector and language model through a pass."""
    module: Any = model
    module.train()
    learning = [p for n in ("connector", "language_model") for p in model.parts()[n].parameters()]
    optimizer = torch.optim.AdamW(learning, lr=1e-5)
    objective = LanguageModeling(LanguageModeling.Config(), model)
    for batch in made:
        objective(model, batch).losses["language_modeling"].backward()
        optimizer.step()
        optimizer.zero_grad()


def loss_difference(family: str) -> float:
    """Returns the largest difference between a sample's loss in a row and alone, in nats."""
    with TemporaryDirectory() as folder:
        tokenizer = AutoTokenizer.from_pretrained(towers.path("lm_chat"))
        marks = {n: getattr(tokenizer, n) for n in ("bos_token_id", "eos_token_id", "pad_token_id")}
        settings = {**FAMILIES[family], **marks, "vocab_size": len(tokenizer)}
        config = AutoConfig.for_model(family, **settings)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        model, processor = build_model(replace(_quick(), language=folder))
    module: Any = model.eval()
    dataset = ConversationDataset(mixture()[::9], processor)
    rows = PackedDataset(dataset, Packing(max_tokens=MAX_TOKENS)).rows
    together, alone = {}, {}
    with torch.no_grad():
        for row in rows:
            batch = dataset.batch_of_rows([row])
            assert batch.segments is not None or len(row) == 1
            for place, index in enumerate(row):
                mine = batch.segments == place if batch.segments is not None else None
                together[index] = _loss(module, batch, mine)
                alone[index] = _loss(module, dataset.batch([index]), None)
    return max(abs(together[index] - alone[index]) for index in alone)


def _quick() -> ModelConfig:
    model = recipes.resolve("microworld.quickstart").model
    assert isinstance(model, ModelConfig)
    return model


def _loss(model: Any, batch: Batch, counted: Tensor | None) -> float:
    labels = batch.labels
    assert labels is not None
    if counted is not None:
        labels = labels.masked_fill(~counted, IGNORED_LABEL)
    objective = LanguageModeling(LanguageModeling.Config(), model)
    found = objective(model, replace(batch, labels=labels)).losses["language_modeling"].item()
    assert math.isfinite(found)
    return found


if __name__ == "__main__":
    main(tyro.cli(Options, prog="python -m benchmarks.packing"))
