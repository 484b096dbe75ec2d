"""What the language model makes of a batch: read once, for all objectives that ask."""

from dataclasses import dataclass
from typing import Any, final

from jaxtyping import Float
from torch import Tensor

from isthmus.axes import Batch


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """The last hidden states of a batch, and what the tower saw of its images."""

    hidden: Float[Tensor, "batch seq d_hidden"]
    """Of all positions; of a decoder, of what it writes."""
    seen: Float[Tensor, "images seen d_vision"] | None
    """None where the batch shows no image."""


def read(model: Any, batch: Batch) -> Reading:
    """Returns what a model makes of a batch; of one that is `shared`, each caller gets the same.

    Args:
        model: with a language model.
        batch: samples with their labels.
    """
    if batch.shared is None:
        return _read(model, batch)
    if "reading" not in batch.shared:
        batch.shared["reading"] = _read(model, batch)
    return batch.shared["reading"]


def _read(model: Any, batch: Batch) -> Reading:
    # A cache would be filled for nothing, and lets packed samples see each other.
    inputs = batch.model_inputs() | {"use_cache": False}
    if batch.decoded:
        inputs["decoder_input_ids"] = model.prepare_decoder_input_ids_from_labels(batch.labels)
    if batch.pixel_values is not None:
        patches = model.encode_images(inputs.pop("pixel_values"))
        places = inputs.pop("view_index", None)
        inputs["patch_features"] = (patches if places is None else patches.at(places)).states
    hidden = model.model(**inputs).last_hidden_state
    return Reading(hidden=hidden, seen=inputs.get("patch_features"))
