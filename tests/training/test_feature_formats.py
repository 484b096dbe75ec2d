"""Each number format keeps what it promises, and the comparison sees what breaks the promise."""

from math import prod

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import Tensor

from isthmus.training.feature_formats import FeatureDtype, FeatureFormat
from isthmus.training.feature_report import parity_of

FINITE = st.floats(-(2.0**99), 2.0**99, width=32)
FEATURES = arrays.arrays(np.float32, st.just((2, 3, 4)), elements=FINITE).map(torch.from_numpy)
WHOLE = slice(None)


@settings(deadline=None, max_examples=30)
@given(FEATURES)
def test_int8_is_off_by_half_a_step_of_the_patchs_own_scale(features: Tensor) -> None:
    its = FeatureFormat.of("int8", torch.float32)
    packed = its.pack(features)
    assert packed["features"].dtype == torch.int8
    assert packed["scales"].shape == (2, 3, 1)
    step = features.abs().amax(dim=-1, keepdim=True) / 127
    difference = (its.unpack(packed, WHOLE) - features).abs()
    assert (difference <= step / 2 * (1 + 1e-4) + torch.finfo().tiny).all()
    # Symmetric: what is turned around is stored turned around.
    assert torch.equal(its.unpack(its.pack(-features), WHOLE), -its.unpack(packed, WHOLE))


@settings(deadline=None, max_examples=30)
@given(FEATURES)
def test_the_other_formats_round_once(features: Tensor) -> None:
    single = FeatureFormat.of("as computed", torch.float32)
    assert torch.equal(single.unpack(single.pack(features), WHOLE), features)
    half = FeatureFormat.of("bfloat16", torch.float32)
    expected = features.bfloat16().float()
    assert torch.equal(half.unpack(half.pack(features), WHOLE), expected)


@pytest.mark.parametrize("name", ["as computed", "bfloat16", "int8"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_size_on_disk_is_foretold(name: FeatureDtype, dtype: torch.dtype) -> None:
    its = FeatureFormat.of(name, dtype)
    packed = its.pack(torch.randn(4, 3, 5, dtype=dtype))
    found = sum(prod(tensor.shape) * tensor.dtype.itemsize for tensor in packed.values())
    assert found == 4 * its.num_bytes(3, 5)
    assert its.unpack(packed, slice(1, 3)).shape == (2, 3, 5)


def test_a_format_with_more_rounding_is_given_more_leave() -> None:
    single, int8 = (FeatureFormat.of(n, torch.float32) for n in ("as computed", "int8"))
    assert single.tolerance == 1e-3
    assert int8.tolerance == pytest.approx(1e-3 + 1 / 254)
    assert FeatureFormat.of("int8", torch.bfloat16).tolerance > 5e-2


def test_a_comparison_says_how_far_and_in_which_direction() -> None:
    fresh = torch.tensor([[[3.0, -4.0], [0.0, 0.0]]])
    near = parity_of(fresh + torch.tensor([0.0, 0.04]), fresh, images=1, tolerance=0.02)
    assert near.max_abs_difference == pytest.approx(0.04)
    assert near.max_abs_feature == 4.0
    assert near.relative_difference == pytest.approx(0.01)
    assert near.min_cosine == pytest.approx(1.0, abs=1e-4)
    assert near.holds
    assert not parity_of(fresh * 1.03, fresh, images=1, tolerance=0.02).holds
    nothing = torch.zeros(1, 2, 2)
    assert parity_of(nothing, nothing, images=1, tolerance=0.0).holds
    assert not parity_of(fresh, nothing, images=1, tolerance=0.5).holds
    assert not parity_of(fresh * torch.nan, fresh, images=1, tolerance=0.5).holds


def test_a_wrong_patch_is_seen_beside_one_with_huge_features() -> None:
    fresh = torch.randn(1, 16, 8)
    stored = fresh.clone()
    stored[0, 3] = torch.randn(8)
    fresh[0, 0], stored[0, 0] = 500.0, 500.0
    parity = parity_of(stored, fresh, images=1, tolerance=5e-2)
    assert parity.relative_difference < 5e-2
    assert not parity.holds
