"""Honeybee (kakaobrain/honeybee): its projectors.

Paper: arXiv 2312.06742.
"""

from collections.abc import Mapping
from math import isqrt
from typing import Any

from torch import Tensor

from isthmus.connectors import ConnectorConfig
from isthmus.connectors.c_abstractor import CAbstractor
from isthmus.connectors.d_abstractor import DAbstractor
from isthmus.connectors.honeybee_resampler import HoneybeeResampler
from isthmus.connectors.linear import Linear
from isthmus.connectors.mlp import MLP
from isthmus.keys import KeyMap, Pair

POOLED = {"query": "query", "tgt": "target", "none": "none"}
"""What the pooled map is, by `pooled_v_target`."""

POSITIONS = ("pos_emb", "v_pos_emb")
"""Names of the learned positions."""

LINEAR = KeyMap((("net.0.*", "projection.*"),))

BLOCK: tuple[Pair, ...] = (
    ("conv1.conv", "mix_1"),
    ("conv1.bn", "norm_1"),
    ("conv2.conv", "depthwise"),
    ("conv2.bn", "norm_2"),
    ("se.fc1", "squeeze"),
    ("se.fc2", "excite"),
    ("conv3.conv", "mix_2"),
    ("conv3.bn", "norm_3"),
    ("downsample.conv", "shortcut.mix"),
    ("downsample.bn", "shortcut.norm"),
)
"""Parts of a block of the C-Abstractor; its `bn` are layer norms."""

D_ABSTRACTOR = KeyMap(
    (
        ("reference_points", "reference_points"),
        ("v_pos_emb", "positions.weight"),
        ("query_position_embeddings.weight", "queries"),
        ("eos_tokens", "eos_tokens.weight"),
        ("input_proj.*.*", "projections.*.*"),
        ("layers.*.self_attn.q_proj.*", "layers.*.self_attention.query.*"),
        ("layers.*.self_attn.k_proj.*", "layers.*.self_attention.key.*"),
        ("layers.*.self_attn.v_proj.*", "layers.*.self_attention.value.*"),
        ("layers.*.self_attn.out_proj.*", "layers.*.self_attention.output.*"),
        ("layers.*.self_attn_layer_norm.*", "layers.*.self_attention_norm.*"),
        ("layers.*.encoder_attn.sampling_offsets.*", "layers.*.deformable_attention.offsets.*"),
        ("layers.*.encoder_attn.attention_weights.*", "layers.*.deformable_attention.weights.*"),
        ("layers.*.encoder_attn.value_proj.*", "layers.*.deformable_attention.value.*"),
        ("layers.*.encoder_attn.output_proj.*", "layers.*.deformable_attention.output.*"),
        ("layers.*.encoder_attn_layer_norm.*", "layers.*.deformable_attention_norm.*"),
        ("layers.*.fc1.*", "layers.*.linear_1.*"),
        ("layers.*.fc2.*", "layers.*.linear_2.*"),
        ("layers.*.final_layer_norm.*", "layers.*.feed_forward_norm.*"),
        ("output_proj.*", "projection.*"),
    )
)

ATTENTION = "encoder.layers.*.crossattention"
RESAMPLER = KeyMap(
    (
        ("query_tokens", "queries"),
        ("pos_emb", "positions.weight"),
        ("vit_eos", "eos_tokens.weight"),
        ("visual_input_fc.*", "input.*"),
        (f"{ATTENTION}.norm1.*", "layers.*.query_norm.*"),
        (f"{ATTENTION}.normk.*", "layers.*.patch_norm.*"),
        (f"{ATTENTION}.attention.query.*", "layers.*.query.*"),
        (f"{ATTENTION}.attention.key.*", "layers.*.key.*"),
        (f"{ATTENTION}.attention.value.*", "layers.*.value.*"),
        (f"{ATTENTION}.output.out_proj.*", "layers.*.attention_output.*"),
        (f"{ATTENTION}.output.norm2.*", "layers.*.feed_forward_norm.*"),
        (f"{ATTENTION}.output.mlp.w1.*", "layers.*.gate.*"),
        (f"{ATTENTION}.output.mlp.w3.*", "layers.*.up.*"),
        (f"{ATTENTION}.output.mlp.ffn_ln.*", "layers.*.inner_norm.*"),
        (f"{ATTENTION}.output.mlp.w2.*", "layers.*.down.*"),
        ("visual_output_fc.*", "output.*"),
    )
)


def projector(arguments: Mapping[str, Any]) -> tuple[ConnectorConfig, KeyMap]:
    """Returns the connector of a `projector_config`, and the names of its weights.

    What the arguments leave out has the published code's default.

    Raises:
        ValueError: there is no such projector, or it is set to something that ours is not.
    """
    match kind := arguments.get("projector_type"):
        case "linear":
            _refuse(arguments, pos_emb=False, prenorm=False, num_eos_tokens=0)
            return Linear.Config(), LINEAR
        case "mlp":
            _refuse(arguments, pos_emb=False, prenorm=False, num_eos_tokens=0)
            depth = arguments.get("depth", 2)
            return MLP.Config(depth=depth, activation="silu"), KeyMap(_perceptron("net", depth))
        case "c-abs":
            return _c_abstractor(arguments)
        case "d-abs":
            return _d_abstractor(arguments)
        case "resampler":
            return _resampler(arguments)
    raise ValueError(
        f"unknown projector {kind!r} of Honeybee; expected linear, mlp, c-abs, d-abs or resampler"
    )


def without_class_position(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns published weights of a projector whose positions are those of the patches alone.

    Checkpoints of December 2023 have one more in front: the class token got a position, and was
    dropped behind it. The published code leaves that one out as it loads them, and so does this.

    Differs: told by the number of positions, a square or one more, for Honeybee's grids are
    square; the published code compares it with that of its own model.
    """
    kept = dict(weights)
    for name in POSITIONS:
        if (positions := weights.get(name)) is not None:
            cells = positions.shape[1] - 1
            if cells and isqrt(cells) ** 2 == cells:
                kept[name] = positions[:, 1:]
    return kept


def _c_abstractor(arguments: Mapping[str, Any]) -> tuple[ConnectorConfig, KeyMap]:
    config = CAbstractor.Config(
        num_queries=_num_queries(arguments),
        depth=arguments.get("depth", 3),
        d_hidden=_other_width(arguments, arguments.get("hidden_size", 1024)),
        readout_depth=arguments.get("mlp_depth", 2),
        prenorm=arguments.get("prenorm", False),
        positions=arguments.get("pos_emb", True),
        num_eos_tokens=arguments.get("num_eos_tokens", 0),
    )
    stages = tuple(
        (f"{stage}.b*.{theirs}.*", f"{name}.block_*.{ours}.*")
        for stage, name in (("net.0", "stage_1"), ("net.2", "stage_2"))
        for theirs, ours in BLOCK
    )
    rest = (
        ("pos_emb", "positions.weight"),
        ("eos_tokens", "eos_tokens.weight"),
        ("prenorm.*", "prenorm.*"),
    )
    return config, KeyMap((*rest, *stages, *_perceptron("readout", config.readout_depth)))


def _d_abstractor(arguments: Mapping[str, Any]) -> tuple[ConnectorConfig, KeyMap]:
    # The published code has no way to read several levels: its references are for one alone.
    _refuse(arguments, num_feature_levels=1, activation_function="relu", prenorm=False)
    width = arguments.get("d_model", 1024)
    pooled = arguments.get("pooled_v_target", "query")
    if pooled not in POOLED:
        raise ValueError(
            f"Honeybee's pooled_v_target is {pooled!r}; expected one of {', '.join(POOLED)}"
        )
    config = DAbstractor.Config.from_dict(
        {
            "num_queries": _num_queries(arguments),
            "depth": arguments.get("decoder_layers", 6),
            "d_hidden": _other_width(arguments, width),
            "d_ffn": arguments.get("decoder_ffn_dim", 1024),
            "num_heads": arguments.get("decoder_attention_heads", 8),
            "num_points": arguments.get("decoder_n_points", 4),
            "pooled": POOLED[pooled],
            "positions": arguments.get("pos_emb", True),
            "dropout": arguments.get("dropout", 0.1),
            "num_eos_tokens": arguments.get("num_eos_tokens", 0),
        }
    )
    return config, D_ABSTRACTOR


def _resampler(arguments: Mapping[str, Any]) -> tuple[ConnectorConfig, KeyMap]:
    _refuse(arguments, prenorm=False)
    config = HoneybeeResampler.Config(
        num_queries=_num_queries(arguments),
        depth=arguments.get("num_hidden_layers", 6),
        d_hidden=arguments.get("hidden_size", 1024),
        d_ffn=arguments.get("intermediate_size", 4096),
        inner_norm_eps=arguments.get("layer_norm_eps", 1e-6),
        num_heads=arguments.get("num_attention_heads", 16),
        attention_dropout=arguments.get("attention_probs_dropout_prob", 0.1),
        positions=arguments.get("pos_emb", False),
        num_eos_tokens=arguments.get("num_eos_tokens", 0),
    )
    return config, RESAMPLER


def _perceptron(name: str, depth: int) -> tuple[Pair, ...]:
    """Names of linear layers with activations between them."""
    ours = "layers" if name == "net" else name
    return tuple((f"{name}.{2 * i}.*", f"{ours}.linear_{i + 1}.*") for i in range(depth))


def _num_queries(arguments: Mapping[str, Any]) -> int:
    # Checkpoints of December 2023 have the older name.
    for name in ("num_query_tokens", "num_queries"):
        if (number := arguments.get(name)) is not None:
            return number
    raise ValueError("a projector_config of Honeybee lacks num_query_tokens; give the number")


def _other_width(arguments: Mapping[str, Any], width: int) -> int | None:
    """Returns the width inside, or None where it is that of the patches."""
    return None if width == arguments.get("encoder_hidden_size", 1024) else width


def _refuse(arguments: Mapping[str, Any], **known: Any) -> None:
    for name, value in known.items():
        if (given := arguments.get(name, value)) != value:
            raise ValueError(
                f"Honeybee's {arguments['projector_type']} with {name} {given!r} has no connector "
                f"here; expected {value!r}"
            )
