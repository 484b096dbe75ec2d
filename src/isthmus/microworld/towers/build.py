"""Builds the towers: one entry per tower; each goes on from where an earlier call stopped."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from rich.console import Console
from safetensors.torch import load_file

from isthmus.microworld.towers.classifier import Classification
from isthmus.microworld.towers.contrastive import Contrastive
from isthmus.microworld.towers.encoder_decoder import EncoderDecoder
from isthmus.microworld.towers.language import LanguageModeling
from isthmus.microworld.towers.masked import MaskedPatches
from isthmus.microworld.towers.masked_words import MaskedWords
from isthmus.microworld.towers.pretrain import Pretraining, pretrain
from isthmus.microworld.towers.siglip_start import fresh_vision, grown_vision
from isthmus.microworld.towers.start import fresh, grown, saved

SEED = 0

# In the order in which they are built: a model that goes on from another stands behind it.
TOWERS: dict[str, Callable[[Path], Pretraining]] = {
    "siglip": lambda _: Contrastive(
        "siglip", fresh_vision(width=128, depth=6), steps=6000, seed=SEED
    ),
    "siglip_large": lambda weights: Contrastive(
        "siglip_large",
        grown_vision(weights / "siglip", depth=12),
        locked=0.4,
        steps=600,
        seed=SEED,
    ),
    "dinov2": lambda _: MaskedPatches(steps=6000, seed=SEED),
    "vit": lambda _: Classification(steps=2400, seed=SEED),
    "bert": lambda _: MaskedWords(steps=1300, seed=SEED),
    "lm_tiny": lambda _: LanguageModeling(
        "lm_tiny", fresh(width=96, depth=4), chat=False, rows=32, steps=2000, seed=SEED
    ),
    "lm_base": lambda _: LanguageModeling(
        "lm_base", fresh(width=192, depth=6), chat=False, steps=10_000, seed=SEED
    ),
    "lm_chat": lambda weights: LanguageModeling(
        "lm_chat", saved(weights / "lm_base"), chat=True, steps=4000, seed=SEED
    ),
    "lm_chat_large": lambda weights: LanguageModeling(
        "lm_chat_large",
        grown(weights / "lm_chat", depth=12),
        chat=True,
        rows=24,
        steps=750,
        seed=SEED,
    ),
    "t5": lambda _: EncoderDecoder(steps=9000, seed=SEED),
}


def build(weights: Path, work: Path, console: Console, only: Sequence[str] = ()) -> None:
    """Pretrains towers into `weights/NAME` with a provenance file beside the weights.

    Args:
        weights: Where the tower folders go.
        work: Where resumable checkpoints lie meanwhile; may be deleted afterwards.
        console: Where progress is shown.
        only: Names of the towers to build; all by default.

    Raises:
        ValueError: For an unknown tower.
    """
    for name in only:
        if name not in TOWERS:
            raise ValueError(f"unknown tower {name!r}; the towers are {', '.join(TOWERS)}")
    for name in only or TOWERS:
        run = TOWERS[name](weights)
        facts = pretrain(run, work, console, seed=SEED)
        folder = weights / name
        with torch.random.fork_rng():
            run.save(folder)
        provenance = {
            "command": f"isthmus microworld build --only {name}",
            **facts,
            "parameters": _num_parameters(folder),
            "scores": {key: round(value, 4) for key, value in run.scores().items()},
        }
        (folder / "provenance.json").write_text(json.dumps(provenance, indent=2) + "\n")
        console.print(f"{name}: saved to {folder}")


def _num_parameters(folder: Path) -> int:
    """What was saved: the parts that only training needed are not counted."""
    return sum(tensor.numel() for tensor in load_file(folder / "model.safetensors").values())
