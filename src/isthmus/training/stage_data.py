"""What a stage learns from, opened: datasets, and the store of what the frozen tower sees."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from accelerate import Accelerator
from jaxtyping import Float
from rich.console import Console
from torch import Tensor

from isthmus.data.ahead import made_ahead
from isthmus.data.cache import cache_root
from isthmus.data.dataset import ConversationDataset
from isthmus.data.order import share
from isthmus.data.packing import PackedDataset, Packing
from isthmus.data.vetting import QUARANTINE_FILE, Rejected
from isthmus.data.views import read_views
from isthmus.training.examples import Dataset
from isthmus.training.feature_store import FeatureStore, StoreReport
from isthmus.training.read_data import ReadData, read_data
from isthmus.training.resolve import Model, ModelProcessor, examples_of
from isthmus.training.stage import Data, Stage
from isthmus.training.step import Piece, autocast

_UNSEEN_BY_FEATURES = frozenset({"_name_or_path", "architectures", "dtype", "transformers_version"})
"""Keys of a tower's configuration that do not change what it sees."""


_SEEN_BY_FEATURES = (
    *("vision_config", "vision_layer", "vision_beside", "vision_prefix"),
    *("image_size", "image_mean", "image_std", "image_resample", "image_resize"),
)
"""Keys of a model's configuration that do."""


@final
@dataclass(frozen=True, kw_only=True)
class StageData:
    """Datasets of a stage."""

    train: Dataset
    num_samples: int
    """Samples to learn from, of which a row may hold several."""
    validation: Dataset | None
    fingerprint: str
    """Of the file that is learned from."""
    validation_fingerprint: str | None
    """Of the file to validate with, if there is one."""
    store: StoreReport | None
    """What the feature store holds for the stage, if it is used."""
    rejected: Sequence[Rejected]
    """Rows that are used neither to train nor to validate."""
    num_cut: int
    """Examples to learn from of which the end is left out."""


def open_data(
    stage: Stage,
    model: Model,
    processor: ModelProcessor,
    *,
    tower: str,
    accelerator: Accelerator,
    console: Console,
    output: Path | None = None,
) -> StageData:
    """Reads the samples of a stage, and has the frozen tower see their images if it asks for that.

    Args:
        stage: names the data.
        model: holds the tower.
        processor: of the model.
        tower: fingerprint of the tower's weights.
        accelerator: the main process writes caches, the others wait for it and read them.
        console: is told about rows that are left out, and about the feature store.
        output: folder whose quarantine.jsonl names those rows.

    Raises:
        ValueError: too large a share of the rows cannot be used.
    """
    examples = examples_of(model, processor)
    if stage.split_answers and not model.config.is_encoder_decoder:
        raise ValueError(
            f"stage {stage.name!r} splits answers between an encoder and a decoder, and the model "
            "has one stack of layers; set split_answers to False"
        )

    def read_rows(data: Data) -> ReadData:
        return read_data(
            data,
            examples,
            blind=stage.blind,
            split_seed=0 if stage.split_answers else None,
            quarantine=output,
            num_workers=stage.num_workers,
            console=console,
        )

    with accelerator.main_process_first():
        read = read_rows(stage.data)
        validation = read_rows(stage.validation) if stage.validation else None
        rejected = [*read.rejected, *(validation.rejected if validation else ())]
        if rejected:
            console.print(
                f"rows that cannot be used: {len(rejected)}; {QUARANTINE_FILE} says why",
                highlight=False,
            )
        samples = [*read.samples, *(validation.samples if validation else ())]
        images = [path for sample in samples for path in sample.images]
        store = report = None
        if stage.feature_store and images:
            store = open_store(model, tower=tower, dtype=getattr(torch, stage.dtype))
            with console.status("the vision tower looks at the images once"):
                encode = _Encode(model, processor, accelerator.device, store.dtype, stage)
                report = store.fill(images, encode)
            console.print(
                f"feature store: {report.images} images, {report.encoded} of them new; "
                f"{report.parity_images} seen again differ by {report.max_abs_difference:.1e} "
                f"at most (largest feature {report.max_abs_feature:.1f})",
                highlight=False,
            )
    train = examples.dataset(read.samples, store)
    num_samples = len(train)
    if stage.pack_tokens:
        train = _packed(train, stage)
    if num_cut := train.num_cut():
        console.print(
            f"captions longer than the model reads: {num_cut} of {len(train)}; their ends are cut",
            highlight=False,
        )
    return StageData(
        train=train,
        num_samples=num_samples,
        validation=examples.dataset(validation.samples, store) if validation else None,
        fingerprint=read.fingerprint,
        validation_fingerprint=validation.fingerprint if validation else None,
        store=report,
        rejected=rejected,
        num_cut=num_cut,
    )


def _packed(dataset: Dataset, stage: Stage) -> Dataset:
    if not isinstance(dataset, ConversationDataset):
        raise ValueError(
            f"stage {stage.name!r} packs samples, but pairs of an image and a caption are compared "
            "row by row; set pack_tokens to None"
        )
    assert stage.pack_tokens is not None
    packing = Packing(max_tokens=stage.pack_tokens, max_images=stage.pack_images)
    return PackedDataset(dataset, packing)


def open_store(model: Model, *, tower: str, dtype: torch.dtype) -> FeatureStore:
    """Opens the store of a model's tower in the cache.

    Args:
        model: holds the tower.
        tower: fingerprint of the tower's weights.
        dtype: number format of the computation, and on disk.

    Raises:
        ValueError: pictures have several views, of which a store would hold one.
    """
    if model.config.max_tiles is not None:
        raise ValueError(
            f"image_resize is {model.config.image_resize!r}, so that pictures have a number of "
            "views of their own, and the feature store holds one of each; set feature_store to "
            "False"
        )
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


def pieces_of(
    dataset: Dataset,
    batch: Sequence[int],
    *,
    accumulation: int,
    accelerator: Accelerator,
) -> list[Piece]:
    """Returns what this process computes of a global batch."""
    processes, process = accelerator.num_processes, accelerator.process_index
    shares = [
        share(batch, pieces=accumulation * processes, piece=number * processes + process)
        for number in range(accumulation)
    ]
    return [
        Piece(dataset.batch(indices or batch[:1]), real=bool(indices))
        for indices in shares
        if indices or processes > 1
    ]


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
    def __call__(self, paths: Iterable[Path]) -> Float[Tensor, "images seen d_vision"]:
        """Returns what the tower sees of each image."""
        pixels = made_ahead(
            lambda path: read_views(path, self.processor), paths, self.stage.num_workers
        )
        with autocast(self.device, self.dtype):
            return self.model.encode_images(torch.cat(list(pixels)).to(self.device)).states
