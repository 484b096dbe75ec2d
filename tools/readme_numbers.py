"""Writes the numbers of the README from the files that benchmarks wrote, never by hand.

`python -m tools.readme_numbers` rewrites what stands between `<!-- numbers:NAME -->` and
`<!-- /numbers -->` from benchmarks/results/NAME.json; with `--check` it only says whether that
would change anything. A file that is not there yet leaves the command that makes it.
"""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path("benchmarks") / "results"
README = Path("README.md")
_REGION = re.compile(r"(<!-- numbers:(\w+) -->\n).*?(<!-- /numbers -->)", re.DOTALL)
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


WRITERS: dict[str, Callable[[Numbers], str]] = {
    "quickstart": quickstart,
    "feature_store": feature_store,
}


def rewritten(text: str, results: Path) -> str:
    """Returns a page with the numbers of all its regions written anew.

    Args:
        text: of the page.
        results: folder of the result files.
    """

    def region(match: re.Match[str]) -> str:
        opening, name, closing = match.groups()
        file = results / f"{name}.json"
        if not file.is_file():
            command = f"python -m benchmarks.{name} --output {(RESULTS / file.name).as_posix()}"
            return f"{opening}Not measured yet; the command is `{command}`.\n{closing}"
        numbers = json.loads(file.read_text(encoding="utf-8"))
        made_by = f"Written by `{numbers['command']}`."
        return f"{opening}{WRITERS[name](numbers)} {made_by}\n{closing}"

    return _REGION.sub(region, text)


def main(repository: Path, *, check: bool) -> int:
    """Rewrites the README, or tells whether it is out of date; returns the exit status."""
    page = repository / README
    text = page.read_text(encoding="utf-8")
    fresh = rewritten(text, repository / RESULTS)
    if check and fresh != text:
        print("README.md is out of date: run `python -m tools.readme_numbers`", file=sys.stderr)
        return 1
    page.write_text(fresh, encoding="utf-8")
    return 0


def _machine(numbers: Numbers) -> str:
    machine = numbers["accelerator"] or f"{numbers['cores']} cores of {numbers['processor']}"
    return f"{machine} (torch {numbers['torch']})"


if __name__ == "__main__":
    sys.exit(main(Path.cwd(), check="--check" in sys.argv[1:]))
