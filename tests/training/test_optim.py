"""Learning rates per part along one curve, and no decay of norms and biases."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from isthmus.modeling.parts import split
from isthmus.training.optim import build_optimizer, set_lr
from isthmus.training.schedule import Schedule, lr_factor
from isthmus.training.stage import Part

SCHEDULE = Schedule(batch_size=1, steps=100, warmup_share=0.1, final_lr_share=0.2)


def test_the_curve_rises_and_falls_along_a_cosine() -> None:
    curve = [lr_factor(step, 100, SCHEDULE) for step in range(100)]
    assert curve[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert curve[10] == 1.0
    assert curve[55] == pytest.approx(0.6)  # half way down from 1 to 0.2
    assert curve[99] == pytest.approx(0.2, abs=1e-3)
    assert all(a >= b for a, b in pairwise(curve[9:]))


def test_the_curve_falls_along_a_line_if_asked() -> None:
    curve = [lr_factor(step, 100, replace(SCHEDULE, decay="linear")) for step in range(100)]
    assert curve[:10] == [lr_factor(step, 100, SCHEDULE) for step in range(10)]
    falls = [before - after for before, after in pairwise(curve[10:])]
    assert falls == pytest.approx([0.8 / 90] * 89)
    assert curve[10] == 1.0


def test_a_schedule_of_before_there_was_a_choice_falls_along_a_cosine() -> None:
    written = {k: v for k, v in SCHEDULE.to_dict().items() if k != "decay"}
    assert Schedule.from_dict(written) == SCHEDULE
    assert SCHEDULE.decay == "cosine"


def test_without_warm_up_it_starts_at_the_peak() -> None:
    assert lr_factor(0, 3, Schedule(batch_size=1, steps=3, warmup_share=0.0)) == 1.0


def test_groups_have_their_parts_rate_and_decay_weights_only() -> None:
    parts = split(
        {
            "connector": [nn.Linear(2, 3), nn.LayerNorm(3)],
            "language_model": [nn.Embedding(4, 2)],
            "vision_tower": [nn.Linear(1, 1)],
        }
    )
    schedule = Schedule(batch_size=1, steps=4, weight_decay=0.1, betas=(0.8, 0.9))
    trained = [Part(name="connector", lr=1e-2), Part(name="language_model", lr=1e-3)]
    optimizer = build_optimizer(parts, trained, schedule)
    found = {
        (group["weight_decay"], group["lr"]): {p.ndim for p in group["params"]}
        for group in optimizer.param_groups
    }
    assert found == {(0.1, 1e-2): {2}, (0.0, 1e-2): {1}, (0.1, 1e-3): {2}}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 5
    assert all(group["betas"] == (0.8, 0.9) for group in optimizer.param_groups)
    assert set_lr(optimizer, 0.5) == 5e-3
    assert set_lr(optimizer, 0.1) == pytest.approx(1e-3)  # of the peak, not of the last
    assert optimizer.param_groups[-1]["lr"] == pytest.approx(1e-4)


def test_the_fused_update_is_the_plain_one() -> None:
    torch.manual_seed(0)
    layer, twin = nn.Linear(3, 3), nn.Linear(3, 3)
    twin.load_state_dict(layer.state_dict())
    schedule = Schedule(batch_size=1, steps=4, weight_decay=0.1)
    trained = [Part(name="connector", lr=0.01)]
    ours = build_optimizer(split({"connector": [layer]}), trained, schedule)
    plain = torch.optim.AdamW(
        [{"params": [twin.weight], "weight_decay": 0.1}, {"params": [twin.bias]}],
        lr=0.01,
        weight_decay=0.0,
        fused=False,
        foreach=False,
    )
    for _ in range(3):
        inputs = torch.randn(5, 3)
        for module, optimizer in ((layer, ours), (twin, plain)):
            optimizer.zero_grad()
            module(inputs).pow(2).sum().backward()
            optimizer.step()
    torch.testing.assert_close(layer.weight, twin.weight, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(layer.bias, twin.bias, rtol=1e-6, atol=1e-7)
