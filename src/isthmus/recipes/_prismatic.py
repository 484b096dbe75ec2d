"""The single-stage model that Prismatic VLMs start from, and what a row may have otherwise."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import final

from isthmus.connectors.mlp import MLP
from isthmus.geometry.resize import ResizeStrategy
from isthmus.recipes._llava import NUM_CAPTIONS, NUM_INSTRUCTIONS, captions, instructions
from isthmus.recipes._named import named
from isthmus.training.data import FileData
from isthmus.training.models import ModelConfig
from isthmus.training.stage import Recipe, Schedule


@final
@dataclass(frozen=True)
class Towers:
    """Vision towers that look at a picture together; the first decides the grid."""

    names: tuple[str, ...]
    """Hub ids."""
    image_size: int | None = None
    """Height and width of what the first is shown, pixels; its own when None."""


@final
@dataclass(frozen=True)
class Language:
    """A language model, and the form in which it is asked."""

    name: str
    """Hub id."""
    chat_template: str | None
    """Its own when None."""


_CLIP_336 = "openai/clip-vit-large-patch14-336"
_DINOV2 = "facebook/dinov2-with-registers-large"
_SIGLIP_224 = "google/siglip-so400m-patch14-224"
_SIGLIP_384 = "google/siglip-so400m-patch14-384"

IN1K_224 = Towers(("google/vit-large-patch16-224",))
DINOV2_224 = Towers((_DINOV2,), 224)
CLIP_224 = Towers(("openai/clip-vit-large-patch14",))
CLIP_336 = Towers((_CLIP_336,))
SIGLIP_224 = Towers((_SIGLIP_224,))
SIGLIP_384 = Towers((_SIGLIP_384,))
DINOCLIP_336 = Towers((_DINOV2, _CLIP_336), 336)
DINOSIGLIP_224 = Towers((_DINOV2, _SIGLIP_224), 224)
DINOSIGLIP_384 = Towers((_DINOV2, _SIGLIP_384), 384)

VICUNA_7B = Language("lmsys/vicuna-7b-v1.5", "vicuna")
VICUNA_13B = Language("lmsys/vicuna-13b-v1.5", "vicuna")
LLAMA2_7B = Language("meta-llama/Llama-2-7b-hf", "in_out")
LLAMA2_13B = Language("meta-llama/Llama-2-13b-hf", "in_out")
LLAMA2_CHAT_7B = Language("meta-llama/Llama-2-7b-chat-hf", "llama2")
LLAMA2_CHAT_13B = Language("meta-llama/Llama-2-13b-chat-hf", "llama2")
MISTRAL = Language("mistralai/Mistral-7B-v0.1", "in_out")
MISTRAL_INSTRUCT = Language("mistralai/Mistral-7B-Instruct-v0.1", None)
PHI2 = Language("microsoft/phi-2", "input_output")

MIX665K = "mix665k"
LVIS4V = "lvis4v_mix888k"
LRV = "lrv_mix1008k"
LVIS4V_LRV = "lvis4v_lrv_mix1231k"
NO_TEXT = "stripped625k"

_SAMPLES = {
    MIX665K: NUM_INSTRUCTIONS,
    LVIS4V: 1_230_808 - 342_799,
    LRV: NUM_INSTRUCTIONS + 342_799,
    LVIS4V_LRV: 1_230_808,
    NO_TEXT: NUM_INSTRUCTIONS - 40_688,
}
"""Of the published files: LRV-Instruct adds 342,799, and 40,688 have no picture."""


def row(
    function: Callable[[], Recipe],
    *,
    towers: Towers = CLIP_336,
    resize: ResizeStrategy = "letterbox",
    language: Language = VICUNA_7B,
    data: str = MIX665K,
    epochs: int = 1,
    steps: int | None = None,
    aligned: bool = False,
    thawed: bool = False,
) -> Recipe:
    """Returns the single-stage model, but for what is said.

    Args:
        function: of the row, for its name and its line.
        towers: which look at the pictures.
        resize: how pictures are brought to size.
        language: which answers.
        data: end of the instruction file's name, `llava_v1_5_DATA.json`.
        epochs: passes over it.
        steps: optimizer steps in place of `epochs`.
        aligned: whether the connector first learns from captions alone.
        thawed: whether the vision tower learns with the language model.
    """
    first, *beside = towers.names
    model = ModelConfig(
        vision=first,
        beside=tuple(beside),
        image_size=towers.image_size,
        image_resize=resize,
        language=language.name,
        chat_template=language.chat_template,
        connector=MLP.Config(depth=3, patch_multiplier=4) if beside else MLP.Config(),
    )
    told = _lies("llava-v1.5-instruct", f"llava_v1_5_{data}.json", _SAMPLES[data])
    schedule = Schedule(
        epochs=epochs if steps is None else None, steps=steps, batch_size=128, weight_decay=0.1
    )
    stage = instructions(told, schedule=schedule, thawed=thawed)
    described = _lies("llava-laion-cc-sbu-558k", "chat.json", NUM_CAPTIONS)
    before = captions(described, lr=1e-3, batch_size=256)
    return named(function, *([before] if aligned else []), stage, model=model, seed=7)


def _lies(folder: str, file: str, samples: int) -> FileData:
    """Returns data where the published code keeps them, below its folder `data/download`."""
    return FileData(file=Path(folder, file), image_root=Path(folder), samples=samples)
