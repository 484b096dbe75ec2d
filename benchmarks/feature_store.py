"""How much faster a connector trains from the feature store than with the tower in the loop.

`python -m benchmarks.feature_store --output FILE`

Seconds per training step (making the batch, forward, backward, optimizer) are measured for the two
ways in turn, on the same batches; the speed-up is the median of the ratios of neighbouring steps.
The prediction is the ratio of the counted floating-point operations of forward and backward. It is
what a machine would reach on which every operation is equally cheap and nothing else takes time.

The text is one caption to an image, as in the stage that aligns a connector. Conversations move the
time into the language model's attention, whose masks and softmax no count of matrix products sees:
with six questions to an image, the large tower's speed-up was 0.79 to 0.86 of the predicted one.
"""

from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, final

import torch
import tyro
from accelerate import Accelerator
from rich.console import Console
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim import Optimizer
from torch.utils.flop_counter import FlopCounterMode
from transformers import ViTConfig, ViTModel
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from benchmarks.outcome import publish
from benchmarks.scratch import scratch_cache
from isthmus import recipes
from isthmus.connectors.perceiver_resampler import PerceiverResampler
from isthmus.data.dataset import ConversationDataset
from isthmus.modeling import fingerprint
from isthmus.training.course import Whole
from isthmus.training.data import MicroworldData
from isthmus.training.freeze import freeze_and_thaw, set_modes
from isthmus.training.models import ModelConfig
from isthmus.training.optim import build_optimizer
from isthmus.training.resolve import build_model
from isthmus.training.stage import Part, Schedule, Stage
from isthmus.training.stage_data import open_data
from isthmus.training.step import Piece, Trainee, take_step

VISUAL_TOKENS = 16
"""Visual tokens of an image in the comparison with the large tower."""
RESAMPLER_LAYERS = 2
"""Layers of its connector; with more of them the connector, not the tower, is what is measured."""
BATCH_SIZE = 16
"""Conversations per step; much smaller ones measure the cost of calling kernels."""


@final
@dataclass(frozen=True)
class Options:
    """Measure the feature store's speed-up."""

    output: Path | None = None
    """JSON file that gets the numbers, too."""
    repetitions: int = 9
    """Pairs of measured steps; one more pair warms up."""


@final
@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What one model gains from the store."""

    speedup: float
    """Median ratio of the seconds of neighbouring steps."""
    predicted: float
    """Ratio of the counted operations."""
    seconds_tower: float
    """Median seconds of a step with the tower in the loop."""
    seconds_store: float
    """Median seconds of a step from the store."""

    def named(self, name: str) -> dict[str, float]:
        """Returns the numbers under the keys that scripts read."""
        return {
            f"speedup_{name}": self.speedup,
            f"predicted_{name}": self.predicted,
            f"share_of_predicted_{name}": self.speedup / self.predicted,
            f"seconds_tower_{name}": self.seconds_tower,
            f"seconds_store_{name}": self.seconds_store,
        }


def main() -> None:
    """Measures both models and publishes the numbers."""
    options = tyro.cli(Options, prog="python -m benchmarks.feature_store")
    quick = recipes.resolve("microworld.quickstart").model
    assert isinstance(quick, ModelConfig)
    with scratch_cache() as folder:
        large = ModelConfig(
            vision=save_vit_b(folder / "vit_b"),
            language=quick.language,
            connector=PerceiverResampler.Config(num_latents=VISUAL_TOKENS, depth=RESAMPLER_LAYERS),
        )
        small = compare(quick, batch_size=BATCH_SIZE, repetitions=options.repetitions)
        big = compare(large, batch_size=BATCH_SIZE, repetitions=options.repetitions)
    numbers: dict[str, Any] = {**small.named("microworld"), **big.named("vit_b")}
    publish(
        {**numbers, "repetitions": options.repetitions},
        options.output,
        command=f"python -m benchmarks.feature_store --repetitions {options.repetitions}",
    )


def compare(config: ModelConfig, *, batch_size: int, repetitions: int) -> Comparison:
    """Measures the steps of one model in both ways, interleaved.

    Args:
        config: towers and connector.
        batch_size: conversations per step.
        repetitions: pairs of steps.
    """
    torch.manual_seed(0)
    steps = Steps(config, batch_size=batch_size)
    pairs = []
    for number in range(repetitions + 1):
        # The order alternates, so that a drift of the machine's speed favours neither.
        ways = (steps.tower, steps.store) if number % 2 else (steps.store, steps.tower)
        seconds = {way: steps.seconds(way, number) for way in ways}
        pairs.append((seconds[steps.tower], seconds[steps.store]))
    warm = pairs[1:]
    return Comparison(
        speedup=median(tower / store for tower, store in warm),
        predicted=steps.operations(steps.tower) / steps.operations(steps.store),
        seconds_tower=median(tower for tower, _ in warm),
        seconds_store=median(store for _, store in warm),
    )


@final
class Steps:
    """A model in training, and the same conversations from pixels and from the store."""

    def __init__(self, config: ModelConfig, *, batch_size: int, num_batches: int = 2) -> None:
        """Builds the model, fills the store, and encodes the conversations."""
        self.batch_size, self.num_batches = batch_size, num_batches
        self.accelerator = Accelerator(mixed_precision="no")
        model, processor = build_model(config)
        trained = (Part(name="connector", lr=1e-3),)
        schedule = Schedule(steps=1, batch_size=batch_size)
        self.trainee = Trainee(model, stage_of(trained, schedule, num=1).objectives)
        self.trainee.to(self.accelerator.device)
        parts = self.trainee.parts()
        freeze_and_thaw(parts, trained)
        set_modes(self.trainee, parts, trained)
        self.optimizer: Optimizer = build_optimizer(parts, trained, schedule)
        tower = fingerprint.of_weights(parts["vision_tower"].state_dict())

        def opened(feature_store: bool) -> ConversationDataset:
            stage = stage_of(
                trained, schedule, num=batch_size * num_batches, feature_store=feature_store
            )
            data = open_data(
                stage,
                model,
                processor,
                tower=tower,
                accelerator=self.accelerator,
                console=Console(quiet=True),
            )
            assert isinstance(data.train, Whole)
            learned = data.train.dataset
            assert isinstance(learned, ConversationDataset)
            # Training encodes a conversation once and keeps it; so do we, before the clock runs.
            for index in range(len(learned)):
                learned.conversation(index)
            return learned

        self.tower, self.store = opened(False), opened(True)

    def seconds(self, way: ConversationDataset, number: int) -> float:
        """Returns the time of one whole step."""
        start = perf_counter()
        self._gradient(way, number)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return perf_counter() - start

    def operations(self, way: ConversationDataset) -> int:
        """Returns the floating-point operations of forward and backward over all batches."""
        counter = FlopCounterMode(display=False)
        # Fused attention on a CPU is not counted; spelt out as matrix products, it is.
        with counter, sdpa_kernel(SDPBackend.MATH):
            for number in range(self.num_batches):
                self._gradient(way, number)
        self.optimizer.zero_grad()
        return counter.get_total_flops()

    def _gradient(self, way: ConversationDataset, number: int) -> None:
        first = number % self.num_batches * self.batch_size
        batch = way.batch(range(first, first + self.batch_size))
        take_step(self.trainee, [Piece(batch)], self.accelerator, torch.float32)


def stage_of(
    trained: tuple[Part, ...], schedule: Schedule, *, num: int, feature_store: bool = False
) -> Stage:
    """Returns a stage over captioned scenes of the microworld."""
    return Stage(
        name="benchmark",
        train=trained,
        data=MicroworldData(split="train", num=num, turns=1, tasks=("caption",)),
        schedule=schedule,
        feature_store=feature_store,
    )


def save_vit_b(folder: Path) -> str:
    """Saves a ViT-B/16 for 224 x 224 pixels with random weights; returns its folder."""
    torch.manual_seed(0)
    ViTModel(ViTConfig(), add_pooling_layer=False).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 224, "width": 224}).save_pretrained(folder)
    return str(folder)


if __name__ == "__main__":
    main()
