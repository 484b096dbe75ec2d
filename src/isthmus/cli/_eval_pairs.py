"""`isthmus eval` of a model that holds images and texts together."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from safetensors.torch import save_file

from isthmus import kinds
from isthmus.cli._console import plain
from isthmus.cli._model import open_alignment
from isthmus.cli._recipe import is_mixture
from isthmus.data.vetting import vet
from isthmus.evaluation import benchmarks
from isthmus.evaluation.pairs_runner import TOP, PairTask, evaluate_matching, evaluate_retrieval
from isthmus.evaluation.runner import evaluate
from isthmus.evaluation.settings import check_unused
from isthmus.training.examples import Pairs

if TYPE_CHECKING:
    from isthmus.cli.eval import Options
    from isthmus.evaluation.benchmark import Benchmark

OWN: dict[str, tuple[str, ...]] = {
    "retrieval": ("max_new_tokens", "num_beams"),
    "matching": ("max_new_tokens", "num_beams", "top"),
    "features": ("max_new_tokens", "num_beams", "top", "seed"),
}
"""What a model that holds images and texts together is measured by beside the benchmarks, and the
settings on which nothing of it depends."""
FEATURES_FILE = "features.safetensors"
NAMES_FILE = "features.json"


def run(options: "Options") -> None:
    """Reads the file, and measures what is asked for.

    Raises:
        ValueError: pictures are to be withheld, there is no such measure, or a setting is not for
            it.
    """
    from isthmus.cli.eval import report

    kind = options.benchmark or "retrieval"
    known = [*OWN, *(kind for kind in kinds.names(benchmarks.__name__) if kind != "grounding")]
    if kind not in known:
        raise ValueError(kinds.unknown(kind, known, what="benchmark"))
    unused = ("style", "boxes", *OWN.get(kind, ("top",)))
    check_unused(options, unused, f"nothing of --benchmark {kind} depends on it")

    if options.blind:
        raise ValueError(
            f"{options.model} holds images and texts together; without images there is nothing to "
            "measure: leave out --blind"
        )
    if is_mixture(options.data, options.image_root):
        raise ValueError(
            f"{options.data} describes a mixture, and {options.model} holds images and texts "
            "together, for which pairs are read from one file; name a file of captions"
        )
    root = options.data.parent if options.image_root is None else options.image_root
    shown = plain() if plain().is_terminal else None
    model, processor = open_alignment(options.model)
    learned = Pairs(processor)
    about = {"tried": "to hold together", **learned.encoding}
    vetted = vet(options.data, root, check=learned.check, about=about, console=shown)
    vetted.write(options.output)
    vetted.check_share(options.max_bad_share)
    given: dict[str, Any] = {
        "folder": options.model,
        "batch_size": options.batch_size,
        "seed": options.seed,
        "console": shown,
    }
    if kind in OWN:
        task = PairTask(
            model=model,
            processor=processor,
            samples=vetted.samples,
            file=options.data,
            **given,
        )
        if kind == "features":
            _features(options, task)
            return
        if kind == "matching":
            result = evaluate_matching(task)
        else:
            result = evaluate_retrieval(task, top=TOP if options.top is None else options.top)
    else:
        make = cast("Callable[..., Benchmark]", benchmarks.of_kind(kind))
        result = evaluate(
            model,
            processor,
            make(options.data, root, samples=vetted.samples),
            max_new_tokens=options.max_new_tokens,
            num_beams=options.num_beams,
            **given,
        )
    report(replace(result, rejected=vetted.counts), options)


def _features(options: "Options", task: PairTask) -> None:
    """Writes the vectors of all images and texts, and their names in the same order."""
    from isthmus.cli.eval import say_cut

    file, found = task.pairs, task.features()
    options.output.mkdir(parents=True, exist_ok=True)
    tensors = {"images": found.images, "texts": found.texts}
    save_file(
        {name: value.to("cpu", torch.float32).contiguous() for name, value in tensors.items()},
        options.output / FEATURES_FILE,
    )
    names = {"images": [_name(path, options) for path in file.images], "texts": file.texts}
    (options.output / NAMES_FILE).write_text(json.dumps(names, indent=1) + "\n", "utf-8")
    plain().print(
        f"{len(file.images)} images, {len(file.texts)} texts: vectors in "
        f"{options.output / FEATURES_FILE}, names in {options.output / NAMES_FILE}"
    )
    say_cut(task.texts_cut)


def _name(path: Path, options: "Options") -> str:
    root = (options.image_root or options.data.parent).resolve()
    return path.relative_to(root).as_posix()  # what leads out of the root was refused
