"""Writes the numbers of the README and of docs from the files that benchmarks wrote, never by hand.

`python -m tools.readme_numbers` rewrites what stands between `<!-- numbers:NAME -->` and
`<!-- /numbers -->` from benchmarks/results/NAME.json; with `--check` it only says whether that
would change anything. A file that is not there yet leaves the command that makes it. Of the papers,
`NAME/FAMILY` has the twins of one and its claims, and the docstring of each twin its scores.
"""

import json
import re
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

RESULTS = Path("benchmarks") / "results"
_REGION = re.compile(r"(<!-- numbers:(\w+)(?:/(\w+))? -->\n).*?(<!-- /numbers -->)", re.DOTALL)
_EXPECTED = re.compile(
    r"(?P<before>^def (?P<twin>\w+)\(\) -> Recipe:\n(?:(?!def ).*\n)*?    Expected: )"
    r"(?:not measured|score ).*\n",
    re.MULTILINE,
)
"""A twin's function up to what its docstring tells of its scores."""
_FORMS: dict[str, Callable[[float], str]] = {
    "answers": lambda share: f"{100 * share:+.1f}",
    "perplexity": lambda nats: f"{nats:+.2f} nats",
    "steps": lambda steps: f"{steps:+.0f} steps",
}
_COLUMNS = {
    "": "test",
    "_compositional": "compositional",
    "_blind": "blind",
    "_majority": "majority",
}
_ROWS = {
    "vqa_accuracy": "**VQA accuracy**",
    "accuracy_colour": "colour",
    "accuracy_shape": "shape",
    "accuracy_count": "count",
    "accuracy_existence": "existence",
    "accuracy_relation": "relation",
    "accuracy_comparison": "comparison",
    "accuracy_position": "position",
    "accuracy_multiple_choice": "multiple choice",
    "accuracy_grounded_vqa": "grounded VQA",
    "reading_accuracy": "reading a sign",
    "box_accuracy": "boxes (IoU >= 0.5)",
}

Numbers = dict[str, Any]


def quickstart(numbers: Numbers) -> str:
    """Returns the table of right answers and the cost of the quick start."""
    lines = [f"| right answers, % | {' | '.join(_COLUMNS.values())} |"]
    lines.append("|---" * (len(_COLUMNS) + 1) + "|")
    for key, label in _ROWS.items():
        if key in numbers:
            cells = [numbers.get(f"{key}{suffix}") for suffix in _COLUMNS]
            shown = ["" if cell is None else f"{100 * cell:.1f}" for cell in cells]
            lines.append(f"| {label} | {' | '.join(shown)} |")
    low, high = numbers["vqa_accuracy_interval"]
    lines.append(
        f"\n95 % interval of the VQA accuracy: {100 * low:.1f} to {100 * high:.1f}. "
        f"Training took {numbers['train_seconds']:.0f} s at "
        f"{numbers['samples_per_second']:.0f} samples/s, everything took "
        f"{numbers['wall_seconds']:.0f} s and {numbers['peak_memory_gb']:.1f} GB of memory, "
        f"on {_machine(numbers)}."
    )
    return "\n".join(lines)


def feature_store(numbers: Numbers) -> str:
    """Returns the table of the feature store's speed-up."""
    lines = ["| towers | faster | predicted from FLOPs |", "|---|---|---|"]
    for key, label in (("microworld", "microworld"), ("vit_b", "ViT-B/16, 16 visual tokens")):
        speedup, predicted = numbers[f"speedup_{key}"], numbers[f"predicted_{key}"]
        lines.append(f"| {label} | {speedup:.1f}x | {predicted:.1f}x |")
    lines.append(f"\nMeasured on {_machine(numbers)}.")
    return "\n".join(lines)


def study(numbers: Numbers) -> str:
    """Returns the tables of a study as one."""
    return _arms((table["metric"], table["lines"]) for table in numbers["tables"])


def arms_of_metrics(numbers: Numbers) -> str:
    """Returns what a study has of each metric by arm."""
    return _arms((name, arms.values()) for name, arms in numbers.items() if _are_arms(arms))


def _are_arms(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(arm, dict) and "mean" in arm for arm in value.values()
    )


def stage1_cost(numbers: Numbers) -> str:
    """Returns what the packed first stage costs beside the published one."""
    plain, packed = (numbers["gflops_per_pair"][name] for name in ("plain", "packed"))
    return (
        f"{packed:.0f} GFLOP for each pair where the published schedule takes {plain:.0f} "
        f"({numbers['flops_ratio']:.2f} of it); {numbers['cpu_ratio']:.2f} of its time; matching "
        f"again is {numbers['rerank_speedup']:.1f}x faster on patches that are kept projected. "
        f"On {_machine(numbers)}."
    )


def data_recipe(numbers: Numbers) -> str:
    """Returns what each mixture of data came to by groups of data sets, beside its reference."""
    tables = [(name, table) for name, table in numbers.items() if _is_comparison(table)]
    groups = [name for name in tables[0][1] if name != "average"]
    heads = ["mixture", *groups, "mean", "against", "difference", "over seeds"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for reference, table in tables:
        means = {
            group: {line["name"]: line["mean"] for line in table[group]["lines"]}
            for group in groups
        }
        for name, found in table["average"].items():
            if name == reference and reference != tables[0][0]:
                continue  # it stands above, against the first reference
            cells = [name.replace("_", " ")]
            cells += [f"{100 * means[group][name]:.1f}" for group in groups]
            cells += [f"{100 * found['mean']:.1f}"]
            if name == reference:
                cells += ["", "", ""]
            else:
                cells += [reference, f"{100 * found['difference']:+.1f}"]
                cells += [_interval(found["over_seeds"])]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + f"\n\nIn percent, with 95 % intervals. On {_machine(numbers)}."


def _is_comparison(table: Any) -> bool:
    return isinstance(table, dict) and "average" in table


def papers(numbers: Numbers) -> str:
    """Returns the twins of the papers side by side, and what became of the papers' claims."""
    systems, claims = numbers["systems"], numbers["claims"]
    scores = [name for name, cell in next(iter(systems.values())).items() if _is_score(cell)]
    heads = ["twin", *scores, "over blind", "clips", "trainable", "tokens", "samples/s"]
    heads += ["98 % after", "perplexity of text", "text logits", "seeds"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, line in systems.items():
        over, clips = line["overall"]["over_blind"], line["video"]
        cells = [name.replace("_", " "), *(f"{100 * line[each]['mean']:.1f}" for each in scores)]
        cells += ["" if over is None else f"{100 * over['value']:+.1f}"]
        cells += [f"{100 * fmean(clips):.1f}" if clips else ""]
        cells += [f"{line['trainable']:,}", str(line["visual_tokens"])]
        cells += [f"{line['samples_per_second']:.0f}", f"{line['steps_to_nearly_all']:.0f} steps"]
        cells += [f"{fmean(line['perplexity']):.1f}" if line["perplexity"] else ""]
        same = line["text_identical"]
        cells += ["" if not same else "as before" if all(same) else "others", str(line["seeds"])]
        lines.append(f"| {' | '.join(cells)} |")
    if any(line["video"] for line in systems.values()):
        lines.append(_of_clips(systems))
    heads = ["claim", "source", "twins", "found", "difference", "over seeds", "seeds"]
    lines += ["", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for claim in claims:
        apart, form = claim["difference"], _FORMS[claim["by"]]
        twins = " and ".join(claim[side].replace("_", " ") for side in ("better", "worse"))
        cells = [claim["text"], claim["source"], twins, claim["verdict"], form(apart["value"])]
        ends = apart["over_seeds"]
        cells += [f"{form(ends['low'])} to {form(ends['high'])}" if ends else ""]
        cells += [str(claim["seeds"])]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + (
        "\n\nRight answers in percent, with 95 % intervals over seeds; a difference is by how much "
        f"the first of two twins is better than the second. On {_machine(numbers)}."
    )


def _of_clips(systems: Numbers) -> str:
    """Returns what the most common answers alone come to, where there are clips."""
    found = [share for line in systems.values() for share in line["video_majority"]]
    return f"\nThe most common answers are right for {100 * fmean(found):.1f} % of clips."


def of_family(numbers: Numbers, family: str) -> Numbers:
    """Returns the numbers of one paper's twins and claims, and of what they are held against."""
    claims = [
        claim
        for claim in numbers["claims"]
        if any(claim[side].startswith(family) for side in ("better", "worse"))
    ]
    named = {claim[side] for claim in claims for side in ("better", "worse")}
    systems = {
        name: line
        for name, line in numbers["systems"].items()
        if name in named or name == "blind" or name.startswith(family)
    }
    if any(line["video"] for line in systems.values()):
        systems |= {n: line for n, line in numbers["systems"].items() if n == "blind_clips"}
    return {**numbers, "systems": systems, "claims": claims}


def _is_score(cell: Any) -> bool:
    return isinstance(cell, dict) and "over_blind" in cell


def plan(numbers: Numbers) -> str:
    """Returns what plans say, and what runs took."""
    lines = ["| a step of `microworld.quickstart` | measured, GB | planned | ratio | operations |"]
    lines.append("|---" * 5 + "|")
    for name, case in numbers.items():
        if isinstance(case, dict) and "memory_ratio" in case:
            lines.append(
                f"| {name} | {case['measured_gb']:.3f} | {case['planned_gb']:.3f} | "
                f"{case['memory_ratio']:.3f} | {case['flops_ratio']:.3f} |"
            )
    return "\n".join(lines) + (
        f"\n\nRatios are of what was measured to what was planned. On {_machine(numbers)}."
    )


def plan_published(numbers: Numbers) -> str:
    """Returns what plans say of steps whose time was published."""
    lines = ["| recipe | published, s a step | planned | ratio |", "|---|---|---|---|"]
    for step in numbers["steps"]:
        lines.append(
            f"| `{step['recipe']}` | {step['published_seconds']:.2f} | "
            f"{step['planned_seconds']:.2f} | {step['ratio']:.2f} |"
        )
    tokens = " or ".join(sorted({str(step["text_tokens"]) for step in numbers["steps"]}))
    return "\n".join(lines) + (
        "\n\nEight A100 at the assumed share of their data sheet; "
        f"{tokens} tokens of text for each sample, assumed."
    )


def _arms(tables: Iterable[tuple[str, Iterable[Numbers]]]) -> str:
    """Returns a table of percent with 95 % intervals: over seeds, then over samples and seeds."""
    lines = ["| measured | arm | % | over seeds | difference | over samples | over seeds |"]
    lines.append("|---" * 7 + "|")
    for metric, arms in tables:
        for arm in arms:
            cells = [metric.replace("_", " "), arm["name"].replace("_", " ")]
            cells += [f"{100 * arm['mean']:.1f}", _interval(arm["over_seeds"])]
            apart = arm["difference"]
            if apart is None:
                cells += ["", "", ""]
            else:
                cells += [f"{100 * apart['value']:+.1f}"]
                cells += [_interval(apart["over_samples"]), _interval(apart["over_seeds"])]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n\nIn percent, with 95 % intervals."


def _interval(ends: Numbers | None) -> str:
    return f"{100 * ends['low']:.1f} to {100 * ends['high']:.1f}" if ends else ""


WRITERS: dict[str, Callable[[Numbers], str]] = {
    "quickstart": quickstart,
    "feature_store": feature_store,
    "stage1_cost": stage1_cost,
    "plan": plan,
    "plan_published": plan_published,
    "papers": papers,
    "blip2_retrieval": study,
    "blip2_generation": study,
    "blip2_languages": study,
    "blip2_descendants": study,
    "blip2_tuning": study,
    "capfilt": arms_of_metrics,
    "grounding": arms_of_metrics,
    "clips": arms_of_metrics,
    "styles": arms_of_metrics,
    "events": arms_of_metrics,
    "resize": arms_of_metrics,
    "data_recipe": data_recipe,
}


def rewritten(text: str, results: Path) -> str:
    """Returns a page with the numbers of all its regions written anew.

    Args:
        text: of the page.
        results: folder of the result files.
    """

    def region(match: re.Match[str]) -> str:
        opening, name, family, closing = match.groups()
        file = results / f"{name}.json"
        if not file.is_file():
            command = f"python -m benchmarks.{name} --output {(RESULTS / file.name).as_posix()}"
            return f"{opening}Not measured yet; the command is `{command}`.\n{closing}"
        numbers = json.loads(file.read_text(encoding="utf-8"))
        if family is not None:
            numbers = of_family(numbers, family)
        made_by = f"Written by `{numbers['command']}`."
        return f"{opening}{WRITERS[name](numbers)} {made_by}\n{closing}"

    return _EXPECTED.sub(
        partial(_expected, file=results / "papers.json"), _REGION.sub(region, text)
    )


def _expected(match: re.Match[str], file: Path) -> str:
    """Returns what the docstring of a twin tells of its scores, where these are known."""
    systems = json.loads(file.read_text("utf-8"))["systems"] if file.is_file() else {}
    if (line := systems.get(match["twin"])) is None:
        return match[0]
    means = [systems[name]["overall"]["mean"] for name in (match["twin"], "blind")]
    scores = "score {:.2f} of what needs eyes, {:.2f} without pictures".format(*means)
    seeds = "of one seed" if line["seeds"] == 1 else f"mean of {line['seeds']} seeds"
    return f"{match['before']}{scores}; {seeds}.\n"


def pages(repository: Path) -> list[Path]:
    """Returns the pages that may hold numbers, and the recipes of twins."""
    texts = sorted((repository / "docs").rglob("*.md"))
    twins = sorted((repository / "src/isthmus/recipes/microworld").glob("*.py"))
    return [repository / "README.md", *texts, *twins]


def main(repository: Path, *, check: bool) -> int:
    """Rewrites the pages, or tells which are out of date; returns the exit status."""
    is_old = False
    for page in pages(repository):
        text = page.read_text(encoding="utf-8")
        fresh = rewritten(text, repository / RESULTS)
        if fresh == text:
            continue
        if check:
            name = page.relative_to(repository)
            print(f"{name} is out of date: run `python -m tools.readme_numbers`", file=sys.stderr)
            is_old = True
        else:
            page.write_text(fresh, encoding="utf-8")
    return int(is_old)


def _machine(numbers: Numbers) -> str:
    machine = numbers["accelerator"] or f"{numbers['cores']} cores of {numbers['processor']}"
    return f"{machine} (torch {numbers['torch']})"


if __name__ == "__main__":
    sys.exit(main(Path.cwd(), check="--check" in sys.argv[1:]))
