"""A Q-Former by itself: no model of ours, but what a new one can start from."""

import shlex
from pathlib import Path
from typing import Any

from safetensors import safe_open

from isthmus.connectors._qformer_names import BESIDE_FILE
from isthmus.connectors.qformer import QFormer
from isthmus.shipping.importers import blip2

MODEL_TYPE = "blip_2_qformer"
"""Of a `Blip2QFormerModel`."""
FIELDS = (
    *("num_queries", "depth", "d_hidden", "num_heads", "d_ffn"),
    *("cross_attention_every", "norm_eps"),
)
"""Fields in which a connector has to be as the Q-Former that it starts from."""


def how_to_start(folder: str, theirs: Any) -> str:
    """Returns why a Q-Former is no whole model, and the commands in which a new one starts from it.

    Args:
        folder: local folder or hub id of a `Blip2QFormerModel`.
        theirs: its configuration.

    Raises:
        ValueError: a setting is not known here, so that nothing can start from it.
    """
    held = _queries(Path(folder) / BESIDE_FILE)
    num_queries = QFormer.Config.num_queries if held is None else held
    connector = blip2.connector(theirs.to_dict(), num_queries=num_queries)
    place = shlex.quote(folder)
    said = (
        f"{folder!r} holds a Blip2QFormerModel, a Q-Former alone, and a model needs more; start "
        f"a new one from it, with a vision tower {theirs.encoder_hidden_size} wide: isthmus train "
        f"RECIPE --connector qformer --model.connector-start {place} "
        f"{_flags('connector', connector)}"
    )
    if (text := connector.text) is not None:
        said += (
            "; or, where the recipe compares pictures and texts and the tokenizer lies in the "
            f"folder too: isthmus train RECIPE --model.text {place} "
            f"{_flags('qformer', connector)}"
        )
        if held is not None:
            said += (
                f" --model.qformer.text.vocab-size {text.vocab_size}"
                f" --model.qformer.text.num-positions {text.num_positions}"
            )
    if held is None:
        said += f" (it lacks {BESIDE_FILE}, as isthmus export writes: queries and words are fresh)"
    return said


def _queries(file: Path) -> int | None:
    """Returns how many queries a file of ours holds; None where there is none."""
    if not file.is_file():
        return None
    with safe_open(file, framework="pt") as weights:
        return int(weights.get_slice("query_tokens").get_shape()[1])


def _flags(name: str, connector: QFormer.Config) -> str:
    """Returns the settings of a connector as `isthmus train` reads them."""
    values: dict[str, Any] = {field: getattr(connector, field) for field in FIELDS}
    return " ".join(f"--model.{name}.{n.replace('_', '-')} {v}" for n, v in values.items())
