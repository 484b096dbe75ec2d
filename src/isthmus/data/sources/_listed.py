"""Data sets of many files: a folder, a pattern such as `*.tar`, or a range as `{00000..00012}`."""

import math
import re
from glob import glob, has_magic
from itertools import product
from pathlib import Path

MAX_FILES = 1_000_000
"""Most files that a range spells out; one too many zeros is found before memory is full."""

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d{1,18})\.\.(\d{1,18})")
_PART = re.compile(r"(.+)-\d{5}-of-\d{5}")
"""The split of a data set, before which part of it a file is."""


def listed(pattern: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Returns the files of a data set, in order.

    Args:
        pattern: a file; a folder, of which the files with the suffixes are taken; or a path with
            `*`, `?`, `[...]`, `{first..last}` or `{one,other}` in it, which may be combined.
        suffixes: of files in a folder.

    Raises:
        ValueError: there is none, one that is spelled out does not exist, or a folder holds several
            splits, of which one would be learned from that is meant for a test.
    """
    if pattern.is_file():
        return [pattern]
    if pattern.is_dir():
        # What `datasets` has computed of a table lies beside it.
        inside = (p for p in pattern.iterdir() if not p.name.startswith("cache-"))
        found = sorted(path for path in inside if path.suffix in suffixes)
        _check_split(pattern, found)
    else:
        found = matching(pattern)
    if not found:
        raise ValueError(f"{pattern} holds no file; expected some of {', '.join(suffixes)}")
    return found


def matching(pattern: Path) -> list[Path]:
    """Returns the files that a pattern spells out.

    Raises:
        ValueError: one that is spelled out does not exist.
    """
    return [file for path in _spelled(str(pattern)) for file in _matching(path)]


def _spelled(pattern: str) -> list[str]:
    """Returns a pattern for each choice that its braces leave."""
    before, *rest = _BRACES.split(pattern)
    choices = [_choices(inside, pattern) for inside in rest[::2]]
    _check_number(math.prod(map(len, choices)), pattern)
    return [
        before + "".join(word + after for word, after in zip(words, rest[1::2], strict=True))
        for words in product(*choices)
    ]


def _choices(inside: str, pattern: str) -> list[str]:
    """Returns what may stand for a pair of braces; numbers keep their leading zeros."""
    if (match := _RANGE.fullmatch(inside)) is None:
        return inside.split(",")
    first, last = match.groups()
    _check_number(int(last) - int(first), pattern)
    return [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]


def _check_number(num: int, pattern: str) -> None:
    if num > MAX_FILES:
        raise ValueError(f"{pattern} spells {num} files; expected at most {MAX_FILES}")


def _matching(path: str) -> list[Path]:
    if has_magic(path):
        return sorted(map(Path, glob(path)))  # noqa: PTH207 (it may start at the root)
    if not Path(path).is_file():
        raise ValueError(f"the data file {path} does not exist")
    return [Path(path)]


def _check_split(folder: Path, files: list[Path]) -> None:
    splits = sorted({match.group(1) for file in files if (match := _PART.match(file.name))})
    if len(splits) > 1:
        raise ValueError(
            f"{folder} holds several splits ({', '.join(splits)}); name one of them, as "
            f"{folder / splits[-1]}-*{files[0].suffix}"
        )
