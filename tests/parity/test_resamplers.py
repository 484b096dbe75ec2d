"""Connectors that transformers has too: ours with its weights computes what it computes."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    Idefics2Config,
    Idefics3Config,
    IdeficsConfig,
    LlavaConfig,
    PretrainedConfig,
    SmolVLMConfig,
)
from transformers.models.idefics.perceiver import IdeficsPerceiverResampler
from transformers.models.idefics2.modeling_idefics2 import Idefics2Connector
from transformers.models.idefics3.modeling_idefics3 import Idefics3Connector
from transformers.models.llava.modeling_llava import LlavaMultiModalProjector
from transformers.models.smolvlm.modeling_smolvlm import SmolVLMConnector

from isthmus.axes import Patches
from isthmus.connectors import ConnectorConfig
from isthmus.keys import KeyMap
from isthmus.shipping.importers import idefics, idefics2, idefics3, llava
from tests.parity.golden import TOLERANCE

D_VISION, D_TEXT = 36, 32
IMAGES = 3

# As the golden files' weights: an identity norm or equal latents would hide a swap.
SPREAD = 0.2


def shaken(reference: nn.Module) -> nn.Module:
    for parameter in reference.parameters():
        nn.init.normal_(parameter, mean=float(parameter.ndim == 1), std=SPREAD)
    return reference.eval()


def close(ours: Tensor, theirs: Tensor) -> bool:
    allowed = TOLERANCE * max(1.0, theirs.abs().max().item())
    return (ours - theirs).abs().max().item() <= allowed


def compare(
    reference: nn.Module,
    config: ConnectorConfig,
    names: KeyMap,
    *,
    grid: tuple[int, int],
    run: Callable[[Tensor], Tensor],
    mask: Tensor | None = None,
) -> None:
    """Holds tokens and gradients against the reference's; `run` calls it on the patches."""
    features = torch.randn(IMAGES, grid[0] * grid[1], D_VISION)
    theirs_in, ours_in = features.clone().requires_grad_(), features.clone().requires_grad_()
    theirs = run(theirs_in)
    connector = config.build(d_vision=D_VISION, d_text=theirs.shape[-1], grid=grid)
    connector.load_state_dict(names.to_ours(reference.state_dict()))
    ours = connector(Patches(features=ours_in, grid=grid, mask=mask))
    assert ours.shape[1] == config.num_tokens(grid)
    assert close(ours, theirs)
    cotangent = torch.randn_like(theirs)
    (theirs * cotangent).sum().backward()
    (ours * cotangent).sum().backward()
    assert close(ours_in.grad, theirs_in.grad)
    grads = names.to_theirs({name: p.grad for name, p in connector.named_parameters()})
    expected = {name: p.grad for name, p in reference.named_parameters()}
    assert grads.keys() == expected.keys()
    assert [name for name in expected if not close(grads[name], expected[name])] == []


@pytest.mark.parametrize("qk_layer_norms", [False, True])
def test_idefics_resampler(qk_layer_norms: bool) -> None:
    config = IdeficsConfig(
        vision_config={"embed_dim": D_VISION},
        perceiver_config={
            "qk_layer_norms_perceiver": qk_layer_norms,
            "resampler_n_latents": 7,
            "resampler_depth": 3,
            "resampler_n_heads": 5,
            "resampler_head_dim": 8,
        },
    )
    own = config.perceiver_config
    reference = shaken(
        IdeficsPerceiverResampler(
            config,
            D_VISION,
            own.resampler_depth,
            own.resampler_n_heads,
            own.resampler_head_dim,
            own.resampler_n_latents,
        )
    )
    ours = idefics.resampler(own.to_dict())
    compare(reference, ours, idefics.RESAMPLER, grid=(2, 7), run=reference)


def idefics2_config(attention: str) -> Idefics2Config:
    config = Idefics2Config(
        vision_config={"hidden_size": D_VISION},
        text_config={"model_type": "mistral", "hidden_size": D_TEXT, "intermediate_size": 52},
        perceiver_config={
            "hidden_size": D_TEXT,
            "rms_norm_eps": 1e-3,
            "resampler_n_latents": 7,
            "resampler_depth": 3,
            "resampler_n_heads": 6,
            "resampler_head_dim": 8,
            "num_key_value_heads": 2,
        },
    )
    config.perceiver_config._attn_implementation = attention
    return config


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("filled", [None, [15, 9, 1]], ids=["unpadded", "padded"])
def test_idefics2_connector(attention: str, filled: list[int] | None) -> None:
    config = idefics2_config(attention)
    reference = shaken(Idefics2Connector(config))
    assert reference.perceiver_resampler.config._attn_implementation == attention
    seen = torch.arange(15) < torch.tensor(filled or [15] * IMAGES)[:, None]
    compare(
        reference,
        idefics2.connector(config.perceiver_config.to_dict(), config.text_config.to_dict()),
        idefics2.CONNECTOR,
        grid=(1, 15),
        run=lambda patches: reference(patches, seen),
        mask=seen if filled else None,
    )


@pytest.mark.parametrize("part", ["perceiver_config", "text_config"])
def test_idefics2_with_other_gates_is_refused(part: str) -> None:
    config = idefics2_config("sdpa")
    given = {
        name: getattr(config, name).to_dict() | ({"hidden_act": "gelu"} if name == part else {})
        for name in ("perceiver_config", "text_config")
    }
    with pytest.raises(ValueError, match=f"{part}.hidden_act is 'gelu'; expected 'silu'"):
        idefics2.connector(**given)


@pytest.mark.parametrize(
    ("family", "connector"),
    [(Idefics3Config, Idefics3Connector), (SmolVLMConfig, SmolVLMConnector)],
)
def test_idefics3_and_smolvlm_connector(
    family: type[PretrainedConfig], connector: type[nn.Module]
) -> None:
    config = family(
        scale_factor=3,
        vision_config={"hidden_size": D_VISION},
        text_config={"model_type": "llama", "hidden_size": D_TEXT},
    )
    reference = shaken(connector(config))
    ours = idefics3.connector(config.scale_factor)
    compare(reference, ours, idefics3.CONNECTOR, grid=(6, 6), run=reference)


@pytest.mark.parametrize("activation", ["gelu", "relu", "silu"])
def test_llava_projector(activation: str) -> None:
    config = LlavaConfig(
        vision_config={"model_type": "clip_vision_model", "hidden_size": D_VISION},
        text_config={"model_type": "llama", "hidden_size": D_TEXT},
        projector_hidden_act=activation,
    )
    reference = shaken(LlavaMultiModalProjector(config))
    ours = llava.projector(config.projector_hidden_act)
    compare(reference, ours, llava.PROJECTOR, grid=(2, 7), run=reference)


def test_a_layout_that_lacks_half_of_a_matrix_is_refused() -> None:
    weights = {"blocks.1.0.k_proj.weight": torch.zeros(2, 3)}
    with pytest.raises(ValueError, match=r"lack blocks\.1\.0\.v_proj\.weight"):
        idefics.RESAMPLER.to_ours(weights)
