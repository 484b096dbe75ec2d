"""A result and its two files: results.json with the numbers, samples.jsonl with every sample.

Both have the shape that lmms-eval writes, so that its tools for comparing runs read them, and
beside it the plain keys that scripts rely on: each metric as a float, `METRIC_interval` as a pair.
"""

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, final

from isthmus.evaluation.scores import SampleRow, Score
from isthmus.evaluation.text_ability import TextAbility

RECIPE_FILE = "recipe.json"
"""What training leaves beside a model's weights: the recipe, its digest and its seed."""
RESULTS_FILE = "results.json"
SAMPLES_FILE = "samples.jsonl"


@final
@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where a number comes from, as far as two numbers need it to be compared."""

    model: str
    """Folder or hub id of the model."""

    recipe: str = ""
    """Digest of the recipe it was trained by; empty when the folder has no recipe."""

    training_seed: int | None = None
    """Seed of that recipe."""

    seed: int = 0
    """Seed of the bootstrap."""

    data: str = ""
    """Fingerprint of the benchmark's files and pictures."""

    towers: Mapping[str, str] = field(default_factory=dict)
    """Fingerprints of the weights, by part of the model."""

    blind: bool = False
    """Whether the pictures were withheld."""

    num_beams: int = 1
    """Beams of an answer that was written."""

    style: str | None = None
    """Style in which the chat template asked; None where it was left to the data, or to it."""


@final
@dataclass(frozen=True, kw_only=True)
class Cost:
    """What the evaluation took."""

    seconds: float
    """Units: seconds of wall clock, without loading the model."""

    samples_per_second: float
    peak_memory_gb: float
    """Largest memory of the process (on a GPU: of the device) so far. Units: 10^9 bytes."""


@final
@dataclass(frozen=True, kw_only=True)
class Result:
    """All that is known after one benchmark was run on one model."""

    benchmark: str
    headline: str
    """The metric that stands for the whole."""

    metrics: Mapping[str, Score]
    rows: tuple[SampleRow, ...]
    provenance: Provenance
    cost: Cost
    baselines: Mapping[str, Mapping[str, Score]] = field(default_factory=dict)
    """The same metrics for answers that did not come from the model, by baseline."""
    rejected: Mapping[str, int] = field(default_factory=dict)
    """Rows of the file that could not be asked about, by reason."""
    texts_cut: int = 0
    """Texts that were held against images, of which only the beginning was read."""
    text: TextAbility | None = None
    """The language model on text alone, before and after, where that was measured."""

    def beside(self, name: str, metrics: Mapping[str, Score]) -> "Result":
        """Returns the result with one more baseline, such as the blind model's metrics.

        Raises:
            ValueError: a baseline of this name is there already.
        """
        if name in self.baselines:
            raise ValueError(f"baseline {name!r} is already there; give the other one its own name")
        return replace(self, baselines={**self.baselines, name: dict(metrics)})

    @property
    def num_cut(self) -> int:
        """Answers that reached the limit of new tokens before their end."""
        return sum(not row.finished for row in self.rows)

    def flat(self) -> dict[str, Any]:
        """Returns each metric as a float and its interval as a pair, baselines by suffix."""
        flat: dict[str, Any] = {}
        for suffix, metrics in {"": self.metrics, **self.baselines}.items():
            for name, score in metrics.items():
                key = f"{name}_{suffix}" if suffix else name
                flat[key] = score.value
                flat[f"{key}_interval"] = [score.interval.low, score.interval.high]
        return flat

    def to_dict(self) -> dict[str, Any]:
        """Returns the content of results.json."""
        return {
            **self.flat(),
            "eval_seconds": self.cost.seconds,
            "eval_samples_per_second": self.cost.samples_per_second,
            "eval_peak_memory_gb": self.cost.peak_memory_gb,
            "results": {self.benchmark: {"alias": self.benchmark, **_harness(self.metrics)}},
            "metrics": _full(self.metrics),
            "baselines": {name: _full(metrics) for name, metrics in self.baselines.items()},
            "headline": self.headline,
            "answers_cut": self.num_cut,
            "texts_cut": self.texts_cut,
            "rejected": dict(self.rejected),
            "text_ability": self.text and asdict(self.text),
            "configs": {self.benchmark: {"task": self.benchmark, "output_type": "mixed"}},
            "versions": {self.benchmark: 1},
            "n-shot": {self.benchmark: 0},
            "n-samples": {
                self.benchmark: {
                    "original": len(self.rows) + sum(self.rejected.values()),
                    "effective": len(self.rows),
                }
            },
            "config": {"model": "isthmus", "model_args": f"pretrained={self.provenance.model}"},
            "model_name": self.provenance.model,
            "provenance": asdict(self.provenance),
            "packages": {
                "python": platform.python_version(),
                **{name: version(name) for name in ("torch", "transformers", "numpy")},
            },
        }


def recipe_facts(path: Path) -> dict[str, Any]:
    """Returns what a `Provenance` tells of a recipe.json; nothing where there is none."""
    if not path.is_file():
        return {}
    described: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {"recipe": described.get("digest", ""), "training_seed": described.get("seed")}


def write(result: Result, directory: Path) -> None:
    """Writes results.json and samples.jsonl into a folder, which is made when absent."""
    directory.mkdir(parents=True, exist_ok=True)
    lines = (
        json.dumps(line(row, index), ensure_ascii=False, allow_nan=False)
        for index, row in enumerate(result.rows)
    )
    (directory / SAMPLES_FILE).write_text("".join(f"{text}\n" for text in lines), encoding="utf-8")
    text = json.dumps(result.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
    (directory / RESULTS_FILE).write_text(f"{text}\n", encoding="utf-8")


def line(row: SampleRow, index: int) -> dict[str, Any]:
    """Returns one line of samples.jsonl: our own keys, then those that lmms-eval writes."""
    prompt = {"question": row.question, "images": [path.name for path in row.images]}
    return {
        "id": row.id,
        "task": row.task,
        "prediction": row.prediction,
        "target": row.target,
        "parsed": row.parsed,
        "finished": row.finished,
        "cluster": _hash(row.cluster or row.id)[:12],  # a path would tie the file to one machine
        "boxes": row.boxes,
        "predicted_boxes": row.predicted_boxes,
        "doc_id": index,
        "doc": {"id": row.id, "task": row.task, **prompt},
        "input": row.question,
        "arguments": [[row.question, {}]],
        "resps": [[list(row.log_likelihoods) or row.prediction]],
        "filtered_resps": [row.prediction],
        "filter": "none",
        "metrics": list(row.scores),
        "doc_hash": _hash(json.dumps(prompt, sort_keys=True)),
        "prompt_hash": _hash(row.question),
        "target_hash": _hash(row.target),
        "score": next(iter(row.scores.values())),
        **row.scores,
    }


def _harness(metrics: Mapping[str, Score]) -> dict[str, Any]:
    """Metrics under `name,filter` keys; the standard error is a quarter of the 95 % interval."""
    keys: dict[str, Any] = {}
    for name, score in metrics.items():
        keys[f"{name},none"] = score.value
        keys[f"{name}_stderr,none"] = (score.interval.high - score.interval.low) / (2 * 1.96)
    return keys


def _full(metrics: Mapping[str, Score]) -> dict[str, Any]:
    return {name: asdict(score) for name, score in metrics.items()}


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()
