"""A Q-Former that goes on from a published one."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import Blip2QFormerModel

from isthmus.connectors._bert import check_body
from isthmus.connectors._qformer_names import BESIDE, BESIDE_FILE, QFORMER
from isthmus.connectors.qformer import QFormer
from isthmus.pretrained import read_config


def init_from_blip2(connector: QFormer, folder: str) -> None:
    """Fills a Q-Former with the weights of a `Blip2QFormerModel`.

    That class holds the body alone. The queries, what reads text and the norm of the patches are in
    a file beside it, if we wrote it, and stay as they are without one. So does a projection to
    another width.

    Args:
        connector: changed in place.
        folder: local folder or hub id of a `Blip2QFormerModel`.

    Raises:
        ValueError: it has other sizes, or lacks weights.
    """
    check_body(connector.config, read_config(folder), f"the Q-Former in {folder!r}")
    loaded: Any = Blip2QFormerModel.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    stock, report = loaded
    if missing := sorted(report["missing_keys"]):
        raise ValueError(f"{folder!r} lacks weights of its Q-Former, such as {missing[0]!r}")
    weights = QFORMER.to_ours(stock.state_dict()) | _beside(Path(folder) / BESIDE_FILE)
    own = connector.state_dict()
    fitting = {name: value for name, value in weights.items() if _fits(value, own.get(name))}
    odd = weights.keys() & own.keys() - fitting.keys()
    if wrong := sorted(name for name in odd if not name.startswith("projection.")):
        name = wrong[0]
        raise ValueError(
            f"{folder!r} holds {name} of shape {tuple(weights[name].shape)}, which is "
            f"{tuple(own[name].shape)} here; give the connector the same sizes, and the tower that "
            "it was trained on"
        )
    body = {name for name in own if name.startswith("body.")}
    if absent := sorted(body - fitting.keys()):
        raise ValueError(
            f"{folder!r} lacks {absent[0]}; it reads no text: set qformer.text to None"
        )
    connector.load_state_dict(fitting, strict=False)


def _beside(file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        return {}
    weights = load_file(file)
    weights["query_tokens"] = weights["query_tokens"][0]
    return BESIDE.to_ours(weights)


def _fits(value: Tensor, own: Tensor | None) -> bool:
    return own is not None and own.shape == value.shape
