"""What a visual expert costs: beside running both weights on every token, and beside no expert.

`python -m benchmarks.visual_expert --output FILE`

`train_vs_dense` is the time of forward and backward, with the language model frozen, in units of
the dense form, which runs both weights on all tokens and chooses afterwards. `span_vs_gather` is
the same step when the visual tokens of all samples lie in the same columns, by slices, in units of
gathering rows by number. `decode_vs_bare` is a step that writes one word, in units of the bare
language model. All are medians of ratios within rounds.
"""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
import tyro
from torch import Tensor, nn
from transformers import AutoModel, DynamicCache, LlamaConfig

from benchmarks.outcome import publish
from benchmarks.side_by_side import ratios
from isthmus.fusion._layers import ROUTE
from isthmus.fusion._roles import Roles
from isthmus.fusion.visual_expert import VisualExpert

TEXT = 256
"""Words of a sample."""
VISUAL = 256
"""Visual tokens of a sample."""
BATCH_SIZE = 2


@final
@dataclass(frozen=True)
class Options:
    """Measure the visual expert."""

    output: Path | None = None
    """JSON file that gets the numbers, too."""
    hidden_size: int = 1024
    """Width of the language model."""
    num_layers: int = 2
    """Its layers."""
    repetitions: int = 15
    """Rounds of measurement; one more warms up."""


def main(options: Options) -> None:
    """Measures and publishes."""
    torch.manual_seed(0)
    bare = AutoModel.from_config(
        LlamaConfig(
            vocab_size=1000,
            hidden_size=options.hidden_size,
            intermediate_size=options.hidden_size * 11 // 4,
            num_hidden_layers=options.num_layers,
            num_attention_heads=options.hidden_size // 64,
        )
    ).requires_grad_(False)
    dense, body = copy.deepcopy(bare), copy.deepcopy(bare)
    fusion, experts = (
        VisualExpert(VisualExpert.Config(), model, boundaries=(0, 0)) for model in (body, dense)
    )
    visual = torch.zeros(BATCH_SIZE, VISUAL + TEXT, dtype=torch.bool)
    visual[:, 1 : VISUAL + 1] = True
    _choose_afterwards(experts, visual)

    embeds = torch.randn(BATCH_SIZE, VISUAL + TEXT, options.hidden_size)
    span, gather = (Roles(visual, int(visual.sum())) for _ in range(2))
    gather.span = None

    def step(model: Any, **told: Any) -> None:
        states = embeds.clone().requires_grad_()
        model(inputs_embeds=states, use_cache=False, **told).last_hidden_state.sum().backward()

    _assert_equal(body, dense, embeds, span, gather)
    train = ratios(
        {
            "dense": lambda: step(dense),
            "gather": lambda: step(body, **{ROUTE: gather}),
            "span": lambda: step(body, **{ROUTE: span}),
        },
        base="dense",
        repetitions=options.repetitions,
    )
    layouts = ratios(
        {
            "gather": lambda: step(body, **{ROUTE: gather}),
            "span": lambda: step(body, **{ROUTE: span}),
        },
        base="gather",
        repetitions=options.repetitions,
    )
    decode = ratios(
        {"bare": _writer(bare, embeds), "fused": _writer(body, embeds)},
        base="bare",
        repetitions=options.repetitions * 10,
    )
    publish(
        {
            "train_vs_dense": train["gather"],
            "train_span_vs_dense": train["span"],
            "span_vs_gather": layouts["span"],
            "decode_vs_bare": decode["fused"],
            "hidden_size": options.hidden_size,
            "layers_with_experts": len(fusion.layers),
        },
        options.output,
        command=f"python -m benchmarks.visual_expert --repetitions {options.repetitions}",
    )


def _choose_afterwards(fusion: VisualExpert, visual: Tensor) -> None:
    """Makes every map run its own weights and its expert's on all rows."""
    where = visual[..., None]
    for layer in fusion.layers:
        for key, expert in layer.get_submodule("visual_expert").named_children():

            def choose(_: nn.Module, given: Any, out: Tensor, own: nn.Module = expert) -> Tensor:
                return torch.where(where, own(given[0]), out)

            layer.get_submodule(key.replace("__", ".")).register_forward_hook(choose)


@torch.no_grad()
def _assert_equal(body: Any, dense: Any, embeds: Tensor, *routes: Roles) -> None:
    expected = dense(inputs_embeds=embeds, use_cache=False).last_hidden_state
    for route in routes:
        found = body(inputs_embeds=embeds, use_cache=False, **{ROUTE: route}).last_hidden_state
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def _writer(model: Any, embeds: Tensor) -> Any:
    """Returns what writes one word behind a prompt."""
    cache = DynamicCache(config=model.config)
    with torch.no_grad():
        model(inputs_embeds=embeds, past_key_values=cache, use_cache=True)

    @torch.no_grad()
    def write() -> None:
        model(inputs_embeds=embeds[:, :1], past_key_values=cache, use_cache=True)
        cache.crop(-1)

    return write


if __name__ == "__main__":
    main(tyro.cli(Options, prog="python -m benchmarks.visual_expert", description=__doc__))
