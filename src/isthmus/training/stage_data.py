"""What a stage learns from, opened: datasets, and the store of what the frozen tower sees."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import final

import torch
from accelerate import Accelerator
from jaxtyping import Float
from rich.console import Console
from torch import Tensor

from isthmus.data.ahead import made_ahead
from isthmus.data.cache import cache_root
from isthmus.data.quarantine import QUARANTINE_FILE, Quarantine, Rejected
from isthmus.data.views import num_views, read_views
from isthmus.training.course import Course
from isthmus.training.feature_formats import FeatureDtype
from isthmus.training.feature_report import StoreReport
from isthmus.training.feature_room import GIB
from isthmus.training.feature_store import FeatureStore
from isthmus.training.reading import Reading
from isthmus.training.resolve import Model, ModelProcessor, examples_of
from isthmus.training.stage import Stage
from isthmus.training.step import autocast

_UNSEEN_BY_FEATURES = frozenset({"_name_or_path", "architectures", "dtype", "transformers_version"})
"""Keys of a tower's configuration that do not change what it sees."""


_SEEN_BY_FEATURES = (
    *("vision_config", "vision_layer", "vision_beside", "vision_prefix"),
    *("image_size", "image_mean", "image_std", "image_resample", "image_resize"),
    "max_tiles",
)
"""Keys of a model's configuration that do."""


@final
@dataclass(frozen=True, kw_only=True)
class StageData:
    """What a stage learns from, and is validated with."""

    train: Course
    validation: Course | None
    fingerprint: str
    """Of the file that is learned from."""
    validation_fingerprint: str | None
    """Of the file to validate with, if there is one."""
    store: StoreReport | None
    """What the feature store holds for the stage, if it is used."""
    rejected: Sequence[Rejected]
    """Rows that are used neither to train nor to validate, as far as they were tried."""
    filtered: Mapping[str, int]
    """Rows that are not asked for, by reason, as far as they were read."""


def open_data(
    stage: Stage,
    model: Model,
    processor: ModelProcessor,
    *,
    tower: str,
    accelerator: Accelerator,
    console: Console,
    seed: int = 0,
    output: Path | None = None,
) -> StageData:
    """Reads the samples of a stage, and has the frozen tower see their images if it asks for that.

    Args:
        stage: names the data.
        model: holds the tower.
        processor: of the model.
        tower: fingerprint of the tower's weights.
        accelerator: the main process writes caches, the others wait for it and read them; all fill
            the feature store together.
        console: is told about rows that are left out, and about the feature store.
        seed: of the order of samples.
        output: folder whose quarantine.jsonl names those rows.

    Raises:
        ValueError: too large a share of the rows cannot be used, or a setting does not fit others.
    """
    examples = examples_of(model, processor)
    if stage.split_answers and not model.config.is_encoder_decoder:
        raise ValueError(
            f"stage {stage.name!r} splits answers between an encoder and a decoder, and the model "
            "has one stack of layers; set split_answers to False"
        )

    reader = Reading(
        stage=stage,
        examples=examples,
        seed=seed,
        quarantine=Quarantine(output),
        is_main=accelerator.is_main_process,
        console=console,
    )
    with accelerator.main_process_first():
        read = reader.read(stage.data)
        validation = reader.read(stage.validation) if stage.validation else None
        rejected = [*read.rejected, *(validation.rejected if validation else ())]
        if rejected:
            console.print(
                f"rows that cannot be used: {len(rejected)}; {QUARANTINE_FILE} says why",
                highlight=False,
            )
        images = [*read.images, *(validation.images if validation else ())]
    store = report = None
    if stage.feature_store and images:
        store = open_store(
            model,
            tower=tower,
            dtype=getattr(torch, stage.dtype),
            on_disk=stage.feature_dtype,
            gib=stage.feature_store_gib,
        )
        with console.status("the vision tower looks at the images once"):
            encode = _Encode(model, processor, accelerator.device, store.format.computed, stage)
            report = store.fill(images, encode, views=partial(num_views, processor=processor))
        parity = report.parity
        console.print(
            f"feature store: {report.images} images, {report.new} of them new, in {report.on_disk}"
            f"; {parity.parity_images} seen again differ by {parity.max_abs_difference:.1e} at "
            f"most (largest feature {parity.max_abs_feature:.1f}, cosine {parity.min_cosine:.5f})",
            highlight=False,
        )
    train = reader.course(read, store)
    if num_cut := train.num_cut():
        console.print(
            f"captions longer than the model reads: {num_cut} of {train.num_rows}; their ends are "
            "cut",
            highlight=False,
        )
    return StageData(
        train=train,
        validation=reader.course(validation, store) if validation else None,
        fingerprint=read.fingerprint,
        validation_fingerprint=validation.fingerprint if validation else None,
        store=report,
        rejected=rejected,
        filtered=read.filtered,
    )


def open_store(
    model: Model,
    *,
    tower: str,
    dtype: torch.dtype,
    on_disk: FeatureDtype = "as computed",
    gib: float | None = None,
) -> FeatureStore:
    """Opens the store of a model's tower in the cache.

    Args:
        model: holds the tower.
        tower: fingerprint of the tower's weights.
        dtype: number format of the computation.
        on_disk: number format on disk.
        gib: most that all stores may take together, in GiB; None knows no limit.
    """
    config = model.config
    written = config.to_dict()
    for encoder in (t["vision_config"] for t in (written, *written["vision_beside"])):
        for name in _UNSEEN_BY_FEATURES & encoder.keys():
            del encoder[name]
    return FeatureStore(
        cache_root() / "features",
        {"weights": tower, **{name: written[name] for name in _SEEN_BY_FEATURES}},
        num_patches=_num_states(model),
        d_vision=config.d_vision,
        dtype=dtype,
        on_disk=on_disk,
        limit=None if gib is None else int(gib * GIB),
    )


def _num_states(model: Model) -> int:
    """Returns how many vectors the tower gives of an image."""
    config = model.config
    if not config.vision_prefix:
        rows, columns = config.grid
        return rows * columns
    # How many tokens stand before the patches, only the tower knows.
    black = torch.zeros(1, 3, *reversed(config.resize.size), device=model.device)
    with torch.no_grad():
        return model.encode_images(black).states.shape[1]


@final
@dataclass(frozen=True)
class _Encode:
    """Runs the tower over image files."""

    model: Model
    processor: ModelProcessor
    device: torch.device
    dtype: torch.dtype
    stage: Stage

    @torch.no_grad()
    def __call__(self, paths: Iterable[Path]) -> Float[Tensor, "views seen d_vision"]:
        """Returns what the tower sees of each view of each image."""
        pixels = made_ahead(
            lambda path: read_views(path, self.processor), paths, self.stage.num_workers
        )
        with autocast(self.device, self.dtype):
            return self.model.encode_images(torch.cat(list(pixels)).to(self.device)).states
