"""What a step of BLIP-2's first stage costs, packed beside the published schedule.

`python -m benchmarks.stage1_cost --output FILE`

Three numbers, at the paper's size (a Q-Former of BERT-base with 32 queries over the 257 states of
ViT-g, texts of 32 tokens; what the frozen tower gives is there, the norm behind it learns):

- `flops_ratio`: floating point operations of a step, forward and backward, of the packed schedule
  in units of the plain one, which is the published code's: captions on the cached keys and values
  of the queries, matching on three pairs for each, patches projected anew in each pass. torch's own
  counter, which does not know the fused attention of a CPU: attention is counted as its products.
- `cpu_ratio`: processor time of the same, the median over rounds in which both take turns.
- `rerank_speedup`: processor time of matching an image with 128 texts when it is projected for each
  batch of them anew, in units of that when it is projected once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, final

import torch
import tyro
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.outcome import publish
from benchmarks.side_by_side import compare
from isthmus import IsthmusAlignmentConfig, IsthmusForAlignment
from isthmus.axes import Batch, Patches
from isthmus.connectors._qformer_text import TextSide
from isthmus.connectors.qformer import QFormer
from isthmus.modeling.alignment import SeenImages, Texts
from isthmus.objectives.alignment import Alignment

D_VISION, GRID, LENGTH, CANDIDATES = 1408, (16, 16), 32, 128
"""Of ViT-g at 224 pixels; tokens of a text; texts that an image is matched with."""


@final
@dataclass(frozen=True)
class Options:
    """Measure the first stage."""

    output: Path | None = None
    """JSON file that gets the numbers, too."""
    pairs: int = 4
    """Of a step."""
    at_once: int = 32
    """Texts that an image is matched with at once."""
    repetitions: int = 5
    """Rounds of measurement; one more warms up."""


def main(options: Options) -> None:
    """Measures and publishes."""
    torch.manual_seed(0)
    model = _model()
    batch = _batch(options.pairs)
    steps = {n: _step(model, batch, packed=n == "packed") for n in ("plain", "packed")}
    flops = {name: _flops(step) for name, step in steps.items()}
    times = compare(steps, base="plain", repetitions=options.repetitions)["packed"]
    again = compare(
        _reranking(model, options.at_once), base="once", repetitions=options.repetitions
    )["each"]
    numbers: dict[str, Any] = {
        "flops_ratio": flops["packed"] / flops["plain"],
        "cpu_ratio": median(times.processor),
        "rerank_speedup": median(again.processor),
        "gflops_per_pair": {n: each / options.pairs / 1e9 for n, each in flops.items()},
        "clock": {"cpu_ratio": median(times.clock), "rerank_speedup": median(again.clock)},
    }
    publish(
        numbers,
        options.output,
        command=f"python -m benchmarks.stage1_cost --repetitions {options.repetitions}",
    )


def _model() -> IsthmusForAlignment:
    """Returns BLIP-2's Q-Former behind a tower that is not run."""
    return IsthmusForAlignment(
        IsthmusAlignmentConfig(
            vision_config={
                "model_type": "blip_2_vision_model",
                "hidden_size": D_VISION,
                "num_hidden_layers": 1,
                "image_size": 224,
                "patch_size": 14,
            },
            vision_layer=1,
            vision_prefix=True,
            qformer_config=QFormer.Config(dropout=0.0, text=TextSide()).to_dict(),
        )
    )


def _batch(pairs: int) -> Batch:
    """Returns full texts, and images as the tower would have seen them."""
    ids = torch.randint(1000, 30_000, (pairs, LENGTH))
    return Batch(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        patch_features=torch.randn(pairs, GRID[0] * GRID[1] + 1, D_VISION),
        image_ids=torch.arange(pairs),
    )


def _step(model: IsthmusForAlignment, batch: Batch, *, packed: bool) -> Callable[[], None]:
    model.vision_tower.requires_grad_(False)
    objective = Alignment.Config(packed=packed).build(model)

    def step() -> None:
        outcome = objective(model, batch)
        sum(outcome.losses.values(), torch.zeros(())).backward()
        model.zero_grad()

    return step


def _flops(step: Callable[[], None]) -> int:
    # The counter knows the products that attention is made of, not the fused kernel.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        step()
    return counter.get_total_flops()


def _reranking(model: IsthmusForAlignment, at_once: int) -> dict[str, Callable[[], Tensor]]:
    """Returns two ways of matching an image with its candidates."""
    patches = Patches.of_states(torch.randn(1, GRID[0] * GRID[1] + 1, D_VISION), GRID)
    ids = torch.randint(1000, 30_000, (CANDIDATES, LENGTH))
    texts = Texts(input_ids=ids, attention_mask=torch.ones_like(ids))
    groups = torch.arange(CANDIDATES).split(at_once)

    def matched(seen: Callable[[int], SeenImages]) -> Tensor:
        with torch.inference_mode():
            return torch.cat([model.match(seen(len(group)), texts[group]) for group in groups])

    def once() -> Tensor:
        seen = model.see(patches)
        return matched(seen.repeated)

    def each() -> Tensor:
        def projected(times: int) -> SeenImages:
            states = patches.states.expand(times, -1, -1)
            return model.see(Patches.of_states(states, GRID))

        return matched(projected)

    return {"once": once, "each": each}


if __name__ == "__main__":
    main(tyro.cli(Options, prog="python -m benchmarks.stage1_cost"))
