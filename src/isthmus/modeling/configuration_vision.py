"""The half of a configuration that is about images; whatever reads their patches shares it."""

from collections.abc import Sequence
from os import PathLike
from typing import Any, ClassVar

from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from isthmus.geometry.resize import Resize, ResizeStrategy
from isthmus.modeling.shim import write_shim
from isthmus.vision.choice import PENULTIMATE, Layers, TowerChoice
from isthmus.vision.fused import TowerConfig


class IsthmusVisionConfig(PreTrainedConfig):
    """Vision towers, and how pictures are brought before them."""

    auto_classes: ClassVar[dict[str, str]]
    """Which class of the shim each Auto class takes."""
    sub_configs_defaults = {  # noqa: RUF012 (a class attribute by transformers' contract)
        "vision_config": SubConfigSpec(AutoConfig, model_type="siglip_vision_model"),
    }

    vision_config: Any = None
    """The first tower's own configuration, of all its layers."""
    vision_layer: int | list[int] | tuple[int, ...] = PENULTIMATE
    """Which layer's output is used, or which layers': -1 is the tower's output, see `VisionTower`.
    """
    vision_beside: list[dict[str, Any]] | tuple[dict[str, Any], ...] = ()
    """Further towers, whose patches stand beside those of the first: of each its `vision_config`,
    `vision_layer`, `image_size`, `image_mean` and `image_std`."""
    vision_prefix: bool = False
    """Whether class and register tokens of the tower are read, too."""
    image_size: int = 224
    """Height and width of what the first tower is shown, pixels."""
    image_mean: list[float] | tuple[float, ...] = (0.5, 0.5, 0.5)
    """Mean of each channel, on the scale of 0 to 1."""
    image_std: list[float] | tuple[float, ...] = (0.5, 0.5, 0.5)
    """Standard deviation of each channel, on the scale of 0 to 1."""
    image_resample: int = 3
    """Pillow's number of the interpolation that resizes images (3 is bicubic)."""
    image_resize: ResizeStrategy = "naive"
    """How a picture of any shape is brought to the size, see `isthmus.geometry.resize`."""
    max_tiles: int | None = None
    """Most tiles of one picture beside the view of the whole, for the strategy `tiles`."""

    def __post_init__(self, **kwargs: Any) -> None:
        """Writes tuples as lists, as they come back from a file."""
        super().__post_init__(**kwargs)
        self.image_mean, self.image_std = list(self.image_mean), list(self.image_std)
        self.vision_beside = [dict(tower) for tower in self.vision_beside]
        if not isinstance(self.vision_layer, int):
            self.vision_layer = list(self.vision_layer)

    @property
    def towers(self) -> list[TowerConfig]:
        """The vision towers, the one that decides the grid first."""
        first = _read(
            {
                "vision_config": self.vision_config,
                "vision_layer": self.vision_layer,
                "image_size": self.image_size,
                "image_mean": self.image_mean,
                "image_std": self.image_std,
            }
        )
        return [first, *map(_read, self.vision_beside)]

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the patches of an image."""
        return self.towers[0].grid

    @property
    def d_vision(self) -> int:
        """Width of a patch, of all towers and layers together."""
        return sum(tower.d_vision for tower in self.towers)

    @property
    def resize(self) -> Resize:
        """How pictures are brought to the size of the model's pixels: the largest of its towers'.

        Raises:
            ValueError: there is no such strategy, or it does not go with `max_tiles`.
        """
        side = max(tower.image_size for tower in self.towers)
        return Resize(strategy=self.image_resize, size=(side, side), max_tiles=self.max_tiles)

    def check_prefix(self, reader: str, *, reads_prefix: bool) -> None:
        """Checks that class tokens come from one tower, and are read.

        Args:
            reader: kind of what reads the patches.
            reads_prefix: whether it can read class tokens.

        Raises:
            ValueError: they are asked for, and it is not so.
        """
        if self.vision_prefix and (len(self.towers) > 1 or not reads_prefix):
            raise ValueError(
                f"vision_prefix is set for {len(self.towers)} towers and the connector "
                f"{reader!r}; expected one tower and a connector that reads class tokens, such as "
                "'qformer'"
            )

    def save_pretrained(
        self, save_directory: str | PathLike[str], push_to_hub: bool = False, **kwargs: Any
    ) -> None:
        """Saves config.json, and the shim that lets stock tools load the folder."""
        self.auto_map = dict(self.auto_classes)
        write_shim(save_directory)
        super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoConfig") -> None:
        """Does nothing: checkpoints carry the shim, never a copy of this file."""


def vision_fields(
    vision: str,
    *,
    vision_layer: Layers = PENULTIMATE,
    beside: Sequence[TowerChoice] = (),
    vision_prefix: bool = False,
    image_size: int | None = None,
    image_resize: ResizeStrategy = "naive",
    max_tiles: int | None = None,
) -> dict[str, Any]:
    """Returns the fields of an `IsthmusVisionConfig` for pretrained towers; no weights are loaded.

    Args:
        vision: local folder or hub id of a vision tower, or of a model that holds one.
        vision_layer: which layer's output is used, or which layers', see `VisionTower`.
        beside: further towers, whose patches stand beside those of the first.
        vision_prefix: whether class and register tokens are read, too.
        image_size: height and width of what the first tower is shown, pixels; its own when None.
        image_resize: how a picture of any shape is brought to the size.
        max_tiles: most tiles of one picture beside the view of the whole.

    Raises:
        ValueError: a tower cannot be used.
    """
    choice = TowerChoice(name=vision, layer=vision_layer, image_size=image_size)
    tower, preprocessing = choice.read()
    return {
        **_written(tower),
        "vision_beside": [_written(other.read()[0]) for other in beside],
        "vision_prefix": vision_prefix,
        "image_resample": preprocessing.resample,
        "image_resize": image_resize,
        "max_tiles": max_tiles,
    }


def portable(config: PreTrainedConfig) -> dict[str, Any]:
    """Returns a part's configuration without what belongs to the folder it came from.

    Its path means nothing elsewhere, and the dtype of its file must not be that of our weights.
    """
    return {
        name: value
        for name, value in config.to_dict().items()
        if name not in ("_name_or_path", "dtype", "transformers_version")
    }


def _written(tower: TowerConfig) -> dict[str, Any]:
    """Returns a tower as config.json holds it."""
    return {
        "vision_config": portable(tower.encoder),
        "vision_layer": tower.layers[0] if len(tower.layers) == 1 else list(tower.layers),
        "image_size": tower.image_size,
        "image_mean": list(tower.mean),
        "image_std": list(tower.std),
    }


def _read(written: dict[str, Any]) -> TowerConfig:
    """Returns a tower of what config.json holds."""
    encoder, layers = written["vision_config"], written["vision_layer"]
    return TowerConfig(
        encoder=AutoConfig.for_model(**encoder) if isinstance(encoder, dict) else encoder,
        layers=(layers,) if isinstance(layers, int) else tuple(layers),
        image_size=written["image_size"],
        mean=tuple(written["image_mean"]),
        std=tuple(written["image_std"]),
    )
