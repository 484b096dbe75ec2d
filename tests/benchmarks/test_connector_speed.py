"""The two sides of the connectors' benchmark do the same, so that their times can be compared."""

import json

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers.models.idefics2 import modeling_idefics2

from benchmarks import connector_speed
from benchmarks.connector_speed import PAIRS, Options, Side, main


def operations(side: Side) -> int:
    counter = FlopCounterMode(display=False)
    with counter:
        side.step()
    return counter.get_total_flops()


def leaves(side: Side) -> int:
    return sum(leaf.numel() for leaf in side.leaves)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n == "qformer" else n for n in PAIRS]
)
def test_both_sides_have_the_same_weights_and_multiply_as_much(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The stock class looks whether a mask hides anything, which it cannot on the meta device.
    monkeypatch.setattr(modeling_idefics2, "create_bidirectional_mask", lambda **_: None)
    # At the sizes of the papers, where nothing is computed.
    with torch.device("meta"):
        stock, ours = PAIRS[name]()
        assert leaves(ours) == leaves(stock)
        assert operations(ours) == operations(stock) > 0


def test_the_command_ends_with_one_json_object(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def sides() -> tuple[Side, Side]:
        linear, features = nn.Linear(3, 2), torch.randn(1, 4, 3, requires_grad=True)
        side = Side(lambda: linear(features), [*linear.parameters(), features])
        return side, side

    monkeypatch.setattr(connector_speed, "PAIRS", {"one": sides, "other": sides})
    main(Options(repetitions=3))
    published = json.loads(capsys.readouterr().out.splitlines()[-1])
    for numbers in (published, published["processor_time"]):
        assert numbers["one"] > 0
        assert numbers["other"] > 0
    low, high = published["quartiles"]["one"]
    assert low <= published["one"] <= high
    assert published["command"] == "python -m benchmarks.connector_speed --repetitions 3"
