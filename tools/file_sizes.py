"""A file is a room: no Python file over the hard limit, none over the soft one without a reason.

The limits and the reasons live in pyproject.toml under `tool.isthmus.file-sizes`.
Run `python -m tools.file_sizes [ROOT]`; the exit status is 1 when a file breaks the rule.
"""

import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The rule as written in pyproject.toml."""

    soft: int
    """Lines a file may have without giving a reason."""
    hard: int
    """Lines no file may exceed."""
    roots: tuple[str, ...]
    """Folders that are looked at, relative to the repository."""
    reasons: dict[str, str]
    """Path of a file over the soft limit -> why it is one room and not two."""


def read_limits(repository: Path) -> Limits:
    """Read the rule from the repository's pyproject.toml."""
    with (repository / "pyproject.toml").open("rb") as file:
        table = tomllib.load(file)["tool"]["isthmus"]["file-sizes"]
    return Limits(
        soft=table["soft"],
        hard=table["hard"],
        roots=tuple(table["roots"]),
        reasons=dict(table.get("reasons", {})),
    )


def count_lines(repository: Path, roots: tuple[str, ...]) -> dict[str, int]:
    """Map every Python file below the roots to its number of lines."""
    files = (path for root in roots for path in (repository / root).rglob("*.py"))
    return {
        path.relative_to(repository).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in sorted(files)
    }


def complaints(sizes: dict[str, int], limits: Limits) -> Iterator[str]:
    """Yield one sentence for every broken rule, stale reasons included."""
    for path, lines in sizes.items():
        if lines > limits.hard:
            yield f"{path} has {lines} lines, the hard limit is {limits.hard}: split it"
        elif lines > limits.soft and path not in limits.reasons:
            yield (
                f"{path} has {lines} lines, the soft limit is {limits.soft}: split it, or give a "
                "reason under [tool.isthmus.file-sizes.reasons] in pyproject.toml"
            )
    for path in limits.reasons:
        if sizes.get(path, 0) <= limits.soft:
            yield f"{path} needs no reason any more: remove it from pyproject.toml"


def main(repository: Path) -> int:
    """Print the state of the rule and return the exit status."""
    limits = read_limits(repository)
    sizes = count_lines(repository, limits.roots)
    found = list(complaints(sizes, limits))
    for sentence in found:
        print(f"file-sizes: {sentence}", file=sys.stderr)
    source = [lines for path, lines in sizes.items() if path.startswith("src/")]
    middle = median(source) if source else 0
    print(f"{len(sizes)} files; median of src {middle:.0f} lines, longest {max(sizes.values())}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path.cwd()))
