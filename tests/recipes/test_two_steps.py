"""Every published recipe takes two steps in each stage, as a user types it on the command line.

Towers are random and small, of the classes of the published ones; files are of the data sets' own
layouts. Sizes are overridden on the command line, all else is as the recipe says.
"""

import json
import math
from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from isthmus import recipes
from isthmus.cli import main
from isthmus.cli._overrides import overridden
from isthmus.keys import fits
from isthmus.modeling import fingerprint
from isthmus.pretrained import read_config
from isthmus.training import loop
from isthmus.training.data import FileData, MixtureData
from isthmus.training.models import AlignmentConfig, ModelConfig
from isthmus.training.resolve import build
from isthmus.training.stage import Recipe
from tests.tiny_alignment import QFORMER
from tests.tiny_files import NUM, write_captions, write_conversations, write_tiny_mixture
from tests.tiny_published import GRID, save_published_language, save_published_vision

MIXTURES = Path(__file__).parents[2] / "docs/mixtures"
OF_TOWERS_IN_HAND = ("microworld", "towers")
NAMES = [name for name in recipes.names() if name.partition(".")[0] not in OF_TOWERS_IN_HAND]
FAST = "vadapter.vit_b_1b"
"""One with a hand-over, that learns from a mixture."""
CAPTIONED = ("captions", "alignment", "generative")
"""Stages that learn from pictures and what is said of them, in a file as LAVIS has it."""
_TEXT = ("vocab_size", "num_positions")
SIZES: dict[str, dict[str, Any]] = {
    "qformer": {
        **{n: getattr(QFORMER, n) for n in ("num_queries", "depth", "d_hidden", "num_heads")},
        "d_ffn": QFORMER.d_ffn,
        **{f"text.{name}": getattr(QFORMER.text, name) for name in _TEXT},
    },
    "c_abstractor": {"d_hidden": 16, "depth": 1, "readout_depth": 1},
    "d_abstractor": {"d_hidden": 16, "depth": 2, "num_heads": 4},
    "honeybee_resampler": {"d_hidden": 16, "depth": 2, "num_heads": 4},
    "perceiver_resampler": {"num_latents": 16, "d_head": 6},
    "attentional_pooler": {"num_queries": 16, "d_head": 3},
    "language_adapter": {"resampler": {}},
}
"""What a connector's sizes become, by its kind; those that a recipe leaves to the parts stay so."""


class Parts:
    """Published parts in small, each saved once, and files to learn from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.language = cache(self._language)
        self.vision = cache(self._vision)
        self.conversations = cache(lambda: write_conversations(folder / "conversations"))
        self.captions = cache(lambda: write_captions(folder / "captions"))
        self.mixture = cache(self._mixture)

    def _language(self, name: str) -> str:
        return save_published_language(name, self.folder / name)

    def _vision(self, name: str, layer: Any) -> str:
        return save_published_vision(name, self.folder / f"{name}-{layer}", layer=layer)

    def _mixture(self, file: Path) -> Path:
        return write_tiny_mixture(MIXTURES / file, self.folder / file.stem)


def overrides(recipe: Recipe, parts: Parts) -> list[str]:
    """What is typed so that a recipe is small, and short, and finds its data."""
    flags = of_model("model", recipe.model, parts)
    for number, stage in enumerate(recipe.stages):
        path = f"stages.{number}"
        if stage.model:
            flags |= of_model(f"{path}.model", stage.model, parts)
        flags |= {
            f"{path}.schedule.steps": 2,
            f"{path}.schedule.epochs": None,
            # Two steps see every row of a file, that without an image among them.
            f"{path}.schedule.batch_size": NUM // 2,
            f"{path}.schedule.accumulation": 1,
            f"{path}.checkpoint_every": 1.0,
            f"{path}.dtype": "float32",
        }
        if isinstance(stage.data, FileData):
            tells = stage.data.file.name == "captions.jsonl" and stage.name in CAPTIONED
            file = parts.captions() if tells else parts.conversations()
            flags |= {f"{path}.data.file": file, f"{path}.data.image_root": file.parent}
        else:
            assert isinstance(stage.data, MixtureData)
            flags |= {f"{path}.data.mixture": parts.mixture(stage.data.mixture)}
    return [word for path, value in flags.items() for word in typed(path, value)]


def of_model(path: str, config: ModelConfig | AlignmentConfig, parts: Parts) -> dict[str, Any]:
    """Small parts in the places of published ones, and a connector of small sizes."""
    flags: dict[str, Any] = {"vision": parts.vision(config.vision, config.vision_layer)}
    if config.image_size is not None:
        flags["image_size"] = side(flags["vision"])
    if isinstance(config, AlignmentConfig):
        flags |= {"text": parts.language(config.text), **sizes("qformer", config.qformer)}
        flags["max_caption_tokens"] = flags["qformer.text.num_positions"]
    else:
        flags["language"] = parts.language(config.language)
        for name in ("connector_start", "qformer_tokenizer"):
            if (part := getattr(config, name)) is not None:
                flags[name] = parts.language(part)
        if config.beside:
            towers = config.towers_beside()
            flags["beside"] = [parts.vision(tower.name, tower.layer) for tower in towers]
            if config.beside_image_size:
                flags["beside_image_size"] = [side(name) for name in flags["beside"]]
        flags |= sizes("connector", config.connector)
        if getattr(config.fusion, "layers", ()):
            flags["fusion.layers"] = [1]
    return {f"{path}.{name}": value for name, value in flags.items()}


def sizes(path: str, connector: Any) -> dict[str, Any]:
    """The sizes of a connector, and of one within it."""
    flags: dict[str, Any] = {}
    for name, value in SIZES.get(connector.kind, {}).items():
        inner = name.rpartition(".")[0]
        owner = getattr(connector, inner) if inner else connector
        if value == {}:
            flags |= sizes(f"{path}.{name}", getattr(connector, name))
        elif owner is not None:
            flags[f"{path}.{name}"] = value
    return flags


def side(vision: str) -> int:
    """Pixels of an image of a row and a column more than a small tower has learned places for."""
    return (GRID + 1) * read_config(vision).patch_size


def typed(path: str, value: Any) -> list[str]:
    """A field and its value as words of the command line."""
    values = value if isinstance(value, list) else [value]
    return [f"--{path.replace('_', '-')}", *map(str, values)]


def save_start(model: ModelConfig | AlignmentConfig, folder: Path) -> str:
    """Saves a fresh model for a recipe that goes on from one, of its tower's own image size."""
    torch.manual_seed(1)
    for part in build(replace(model, image_size=None)):
        part.save_pretrained(folder)
    return str(folder)


@dataclass
class Seen:
    """What happened to the weights of a run."""

    stages: list[tuple[set[str], set[str]]] = field(default_factory=list)
    """Parts that each stage trains, and parts whose weights it changed."""
    handed: list[set[str]] = field(default_factory=list)
    """Names of a hand-over whose weights it brought nothing new to."""


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Looks at the weights before and after each stage and hand-over."""
    found, run_stage, hand_over = Seen(), loop._run_stage, loop.hand_over

    def prints(parts: Any) -> dict[str, str]:
        return {name: fingerprint.of_weights(part.state_dict()) for name, part in parts.items()}

    def watched_stage(run: Any, prepared: Any) -> None:
        before = prints(prepared.parts)
        run_stage(run, prepared)
        after = prints(prepared.parts)
        changed = {name for name in after if after[name] != before[name]}
        found.stages.append(({part.name for part in prepared.stage.train}, changed))

    def watched_hand_over(source: Any, target: Any, plan: Any) -> None:
        before = {name: value.clone() for name, value in target.state_dict().items()}
        hand_over(source, target, plan)
        after = target.state_dict()
        changed = [name for name in after if not torch.equal(after[name], before[name])]
        assert changed
        named = [name for _, name in plan.keys]
        assert all(fits(named, name) for name in changed)
        found.handed.append({n for n in named if not any(fits((n,), each) for each in changed)})

    monkeypatch.setattr(loop, "_run_stage", watched_stage)
    monkeypatch.setattr(loop, "hand_over", watched_hand_over)
    return found


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n == FAST else pytest.mark.slow) for n in NAMES]
)
def test_it_takes_two_steps_in_each_stage(
    name: str, seen: Seen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path / "cache"))
    recipe, output = recipes.resolve(name), tmp_path / "run"
    words = overrides(recipe, Parts(tmp_path))
    if recipe.start:
        start = overridden(recipe, words, prog=name).model
        words += ["--start", save_start(start, tmp_path / "start")]
    options = ["--output", str(output), "--max-bad-share", "1.0"]
    assert main(["train", name, *options, *words]) == 0
    assert [changed for _, changed in seen.stages] == [trained for trained, _ in seen.stages]
    assert len(seen.stages) == len(recipe.stages)
    assert seen.handed == [set() for stage in recipe.stages if stage.hand_over]
    losses = defaultdict(list)
    for line in map(json.loads, (output / "log.jsonl").read_text().splitlines()):
        if "loss" in line:
            losses[line["stage"]].append(line["loss"])
    assert {stage: len(found) for stage, found in losses.items()} == {
        stage.name: 2 for stage in recipe.stages
    }
    assert all(math.isfinite(loss) for found in losses.values() for loss in found)
