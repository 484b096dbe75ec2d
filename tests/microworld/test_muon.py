"""Muon is torch's in bfloat16, and nearly so in fp32."""

import pytest
import torch
from torch import nn

from isthmus.microworld.towers.muon import Muon
from isthmus.microworld.towers.pretrain import precision

SHAPES = [(24, 24), (40, 16), (16, 40)]


def after_steps(make: type[torch.optim.Optimizer], **options: object) -> list[torch.Tensor]:
    """Matrices after three steps towards drawn gradients."""
    generator = torch.Generator().manual_seed(0)
    matrices = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]
    optimizer = make(matrices, lr=0.02, weight_decay=0.01, **options)
    for _ in range(3):
        for matrix in matrices:
            matrix.grad = torch.randn(matrix.shape, generator=generator)
        optimizer.step()
    return [matrix.detach() for matrix in matrices]


def test_it_is_that_of_torch_in_bfloat16() -> None:
    theirs = after_steps(torch.optim.Muon, adjust_lr_fn="match_rms_adamw")
    ours = after_steps(Muon, precision=torch.bfloat16)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_fp32_is_close_to_bfloat16() -> None:
    exact = after_steps(Muon, precision=torch.float32)
    rounded = after_steps(Muon, precision=torch.bfloat16)
    for a, b in zip(exact, rounded, strict=True):
        assert not torch.equal(a, b)
        torch.testing.assert_close(a, b, atol=2e-3, rtol=0)


def test_a_step_is_as_large_in_every_direction() -> None:
    matrix = nn.Parameter(torch.zeros(12, 30))
    matrix.grad = torch.diag(torch.logspace(0, -2, 12)) @ torch.randn(12, 30)
    Muon([matrix], lr=1.0, weight_decay=0.0, precision=torch.float32).step()
    sizes = torch.linalg.svdvals(matrix.detach()) / (0.2 * 30**0.5)
    assert 0.5 < sizes.min() <= sizes.max() < 1.3


def test_what_has_no_gradient_stays() -> None:
    matrix = nn.Parameter(torch.ones(3, 3))
    Muon([matrix], lr=1.0, weight_decay=0.5, precision=torch.float32).step()
    assert torch.equal(matrix.detach(), torch.ones(3, 3))


@pytest.mark.parametrize("instructions", ["avx512_bf16", "amx_bf16", None])
def test_bfloat16_is_for_processors_that_know_it(
    monkeypatch: pytest.MonkeyPatch, instructions: str | None
) -> None:
    able = {"avx2": True, "avx512_bf16": False, "amx_bf16": False}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able | {instructions: True})
    assert precision() is (torch.bfloat16 if instructions else torch.float32)
