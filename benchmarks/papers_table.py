"""What became of the twins of five papers: a line for each, and a verdict on each claim."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from typing import Any

from rich.table import Table

from benchmarks.papers_claims import BLIND, CLAIMS, FIRST, GROUPS, SEEING, Claim, known, twin
from isthmus.evaluation import results
from isthmus.study.run import Run
from isthmus.study.table import Line, student_interval, tabulate
from isthmus.training.log import read_log
from isthmus.training.models import ModelConfig
from isthmus.training.run_folder import read_description
from isthmus.training.stage import Recipe

NEARLY = 0.98
"""Share of the final validation score at which a model has all but learned."""


def systems(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """Returns the line of each twin that is finished: scores by group, cost, and convergence."""
    if not any(each.name == BLIND for each in runs):
        return {}
    columns = {"overall": SEEING, **GROUPS}
    by_column = {
        name: tabulate(runs, metric="score", reference=BLIND, tasks=tasks).lines
        for name, tasks in columns.items()
    }
    lines: dict[str, dict[str, Any]] = {}
    for column, found in by_column.items():
        for line in found:
            lines.setdefault(line.name, {})[column] = _cell(line)
    for name, told in lines.items():
        mine = [each for each in runs if each.name == name]
        told.update(_facts(mine), recipes=_digests(name), seeds=len(mine))
    return lines


def _digests(name: str) -> list[str]:
    """Returns what tells whether a twin is still what it was when it was measured."""
    last = twin(name)
    return [each.digest() for each in ((twin(FIRST), last) if last.start else (last,))]


def beside(numbers: Mapping[str, Any], earlier: Mapping[str, Any]) -> dict[str, Any]:
    """Returns numbers with those of an earlier file that they lack and that still hold.

    Args:
        numbers: of the twins that are finished here.
        earlier: of the same form, or nothing. What it has of recipes or claims that have changed is
            left out; what it has of more seeds is kept.
    """
    still = {
        name: line
        for name, line in earlier.get("systems", {}).items()
        if name in known() and line.get("recipes") == _digests(name)
    }
    lines = _of_more_seeds(still, numbers["systems"])
    said = [c for c in earlier.get("claims", ()) if {c["better"], c["worse"]} <= set(still)]
    claims = _of_more_seeds(
        *({claim["text"]: claim for claim in each} for each in (said, numbers["claims"]))
    )
    return {
        "systems": dict(sorted(lines.items(), key=lambda one: -one[1]["overall"]["mean"])),
        "claims": [
            claims[claim.text]
            for claim in CLAIMS
            if claim.text in claims and _plain(claim).items() <= claims[claim.text].items()
        ],
    }


def _of_more_seeds(
    earlier: Mapping[str, Mapping[str, Any]], now: Mapping[str, Mapping[str, Any]]
) -> dict[str, Mapping[str, Any]]:
    fewer = [key for key in now if key in earlier and now[key]["seeds"] < earlier[key]["seeds"]]
    return {**earlier, **{key: line for key, line in now.items() if key not in fewer}}


def _plain(claim: Claim) -> dict[str, Any]:
    """Returns a claim as a file holds it."""
    return json.loads(json.dumps(asdict(claim)))


def _cell(line: Line) -> dict[str, Any]:
    return {
        "mean": line.mean,
        "over_seeds": line.over_seeds and asdict(line.over_seeds),
        "over_blind": line.difference and asdict(line.difference),
    }


def _facts(runs: Sequence[Run]) -> dict[str, Any]:
    """Returns what the folders of a twin's runs tell beside its scores."""
    told = [read_description(each.folder) for each in runs]
    found = [json.loads((each.folder / results.RESULTS_FILE).read_text("utf-8")) for each in runs]
    parts = told[0]["stages"][-1]["parts"]
    clips = [
        json.loads((each.folder / "clips" / results.RESULTS_FILE).read_text("utf-8"))
        for each in runs
        if (each.folder / "clips").is_dir()
    ]
    text = [each["text_ability"] for each in found if each["text_ability"]]
    return {
        "trainable": sum(part["trainable"] for part in parts),
        "visual_tokens": _visual_tokens(runs[0].recipe),
        "samples_per_second": max(samples_per_second(each.folder) for each in runs),
        "train_seconds": fmean(each["result"]["train_seconds"] for each in told),
        "steps_to_nearly_all": fmean(steps_to_nearly_all(each.folder) for each in runs),
        "video": [each["clip_accuracy"] for each in clips],
        "video_majority": [each["clip_accuracy_majority"] for each in clips],
        "text_identical": [each["is_identical"] for each in text],
        "perplexity_before": [each["perplexity_before"] for each in text],
        "perplexity": [each["perplexity"] for each in text],
        "text_before": [each.get("text_accuracy_before") for each in found],
    }


def _visual_tokens(recipe: Recipe) -> int:
    assert isinstance(recipe.model, ModelConfig)
    return recipe.model.connector.num_tokens((8, 8))


def steps_to_nearly_all(folder: Path) -> int:
    """Returns the steps of the last stage after which validation is 98 % of what it ends with."""
    return steps_to(NEARLY * _validated(folder)[-1][1], folder)


def steps_to(enough: float, folder: Path) -> int:
    """Returns the steps of the last stage after which validation is as good as that."""
    return next(step for step, value in _validated(folder) if value >= enough)


def samples_per_second(folder: Path) -> float:
    """Returns how many samples the last stage learns from in a second, between lines of the log.

    Of these the median is taken, which leaves out validation and checkpoints.
    """
    _, last = _last_stage(folder)
    lines = [line for line in last if "samples" in line]
    return median(
        (after["samples"] - before["samples"]) / (after["seconds"] - before["seconds"])
        for before, after in pairwise(lines)
        if after["samples"] > before["samples"]
    )


def _last_stage(folder: Path) -> tuple[int, list[dict[str, Any]]]:
    """Returns the steps before the last stage, and its lines of the log."""
    lines = [line for line in read_log(folder) if "stage" in line]
    name = lines[-1]["stage"]
    before = max((line["step"] for line in lines if line["stage"] != name), default=0)
    return before, [line for line in lines if line["stage"] == name]


def _validated(folder: Path) -> list[tuple[int, float]]:
    """Returns token accuracy on held-out scenes by the steps of the last stage."""
    (before, lines), key = _last_stage(folder), "validation_token_accuracy"
    return [(line["step"] - before, line[key]) for line in lines if key in line]


def held(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Returns each claim whose twins share a seed, with the difference that was found."""
    found = []
    for claim in CLAIMS:
        seeds = [{r.recipe.seed for r in runs if r.name == n} for n in (claim.better, claim.worse)]
        both = seeds[0] & seeds[1]
        pair = [r for r in runs if r.name in (claim.better, claim.worse) and r.recipe.seed in both]
        if pair:
            found.append(_held(claim, pair))
    return found


def _held(claim: Claim, runs: Sequence[Run]) -> dict[str, Any]:
    if claim.by == "answers":
        table = tabulate(runs, metric="score", reference=claim.worse, tasks=claim.tasks)
        (apart,) = (line.difference for line in table.lines if line.name == claim.better)
        assert apart is not None
        found = asdict(apart)
    else:
        by_seed = [_apart(claim, [r for r in runs if r.recipe.seed == s]) for s in _seeds(runs)]
        interval = student_interval(by_seed)
        found = {"value": fmean(by_seed), "over_seeds": interval and asdict(interval)}
    return {
        **_plain(claim),
        "seeds": len(_seeds(runs)),
        "difference": found,
        "verdict": verdict(claim, found["over_seeds"]),
    }


def _seeds(runs: Sequence[Run]) -> list[int]:
    return sorted({each.recipe.seed for each in runs})


def _apart(claim: Claim, runs: Sequence[Run]) -> float:
    """Returns by how many steps or nats the worse of two runs has more."""
    folders = {each.name: each.folder for each in runs}
    worse, better = folders[claim.worse], folders[claim.better]
    if claim.by == "perplexity":
        return _nats(worse) - _nats(better)
    # Both are to reach the same: what stops early at little has not learned faster.
    enough = NEARLY * min(_validated(each)[-1][1] for each in (worse, better))
    return steps_to(enough, worse) - steps_to(enough, better)


def _nats(folder: Path) -> float:
    """Returns the nats that a token of held-out text costs."""
    found = json.loads((folder / results.RESULTS_FILE).read_text("utf-8"))
    return math.log(found["text_ability"]["perplexity"])


def verdict(claim: Claim, interval: Mapping[str, float] | None) -> str:
    """Returns what an interval of the difference says of a claim.

    Args:
        claim: that the first twin is better, or that it is no better.
        interval: how much better the first is, `low` and `high`; None with too few seeds.
    """
    if interval is None:
        return "not shown"
    if claim.says == "no better":
        return "reversed" if interval["low"] > 0 else "not contradicted"
    confirmed, reverse = interval["low"] > 0, interval["high"] < 0
    return "confirmed" if confirmed else "reversed" if reverse else "not shown"


def shown(table: Mapping[str, Mapping[str, Any]]) -> Table:
    """Returns the lines of all twins for a terminal."""
    drawn = Table(title="right answers, %; over the blind twin in all that needs eyes")
    columns = ("overall", *GROUPS)
    others = ("over blind", "video", "trainable", "tokens", "samples/s", "98 % after")
    for name in ("twin", *columns, *others):
        drawn.add_column(name, justify="left" if name == "twin" else "right")
    for name, line in table.items():
        over = line["overall"]["over_blind"]
        drawn.add_row(
            name,
            *(f"{100 * line[column]['mean']:.1f}" for column in columns),
            f"{100 * over['value']:+.1f}" if over else "",
            f"{100 * fmean(line['video']):.1f}" if line["video"] else "",
            f"{line['trainable']:,}",
            str(line["visual_tokens"]),
            f"{line['samples_per_second']:.0f}",
            f"{line['steps_to_nearly_all']:.0f}",
        )
    return drawn
