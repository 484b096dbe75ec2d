"""The files of a data set: read, and refused as a whole where they are not of their format."""

import csv
import json
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from isthmus.data.faults import Fault
from isthmus.data.lines import Lines


def read_bytes(file: Path) -> bytes:
    """Returns the content of a file.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        return file.read_bytes()
    except OSError as error:
        raise ValueError(f"the data file {file} cannot be read ({error.strerror})") from error


def read_text(file: Path) -> str:
    """Returns the text of a file, without a byte order mark.

    Raises:
        ValueError: it cannot be read, or is not UTF-8.
    """
    try:
        return read_bytes(file).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not text in UTF-8 ({error})") from error


def read_json(file: Path) -> Any:
    """Returns what a JSON file holds.

    Raises:
        ValueError: it cannot be read, or is not JSON.
    """
    try:
        return json.loads(read_bytes(file))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is not JSON ({error})") from error


def read_object(file: Path, *keys: str) -> dict[str, Any]:
    """Returns the object that a JSON file is, which has lists under these keys.

    Raises:
        ValueError: it cannot be read, is no such object, or lacks one of the lists.
    """
    found = read_json(file)
    if not isinstance(found, dict):
        raise ValueError(f"{file} holds {found!r:.80}; expected one object")
    for key in keys:
        if not isinstance(found.get(key), list):
            raise ValueError(f"{file} has {found.get(key)!r:.80} as {key!r}; expected a list")
    return found


def read_rows(file: Path) -> Sequence[Any]:
    """Returns the rows of a JSON array, or the lines of JSON lines, which stay undecoded.

    Raises:
        ValueError: the file cannot be read, or is an array that is not JSON.
    """
    try:
        lines = Lines(file)
    except OSError as error:
        raise ValueError(f"the data file {file} cannot be read ({error.strerror})") from error
    if not lines or not lines[0].removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
        return lines
    return read_json(file)


def read_table(file: Path, columns: Sequence[str], delimiter: str) -> list[dict[str, Any]]:
    """Returns the rows of a table of text, by column.

    Args:
        file: comma-separated values, or what has their form.
        columns: names where the file has none in its first line. Then nothing is quoted, and the
            last column takes the rest of the line.
        delimiter: stands between two columns.

    Raises:
        ValueError: the file cannot be read, or is no table.
    """
    text = read_text(file)
    if columns:
        lines = (line.rstrip("\n") for line in StringIO(text, newline=None) if line.strip())
        cells = (line.split(delimiter, len(columns) - 1) for line in lines)
        return [dict(zip(columns, row, strict=False)) for row in cells]
    try:
        table = csv.DictReader(StringIO(text, newline=""), delimiter=delimiter, restkey="")
        return list(table)
    except csv.Error as error:
        raise ValueError(f"{file} is no table of values ({error})") from error


def decoded(row: Any) -> dict[str, Any]:
    """Returns the object that a row is, decoded where it still is a line of JSON.

    Raises:
        Fault: it is no JSON, no object, or holds what is no text.
    """
    if isinstance(row, bytes):
        try:
            row = json.loads(row)
        except (ValueError, RecursionError) as error:
            raise Fault("broken_json", f"not JSON ({error})") from error
    if not isinstance(row, dict):
        raise Fault("wrong_layout", f"a row is {row!r:.80}; expected an object")
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:  # half of a surrogate pair, for one
        raise Fault("broken_json", f"not text ({error})") from error
    return row


def by_id(rows: Sequence[Any], key: str) -> Mapping[str, Any]:
    """Returns the objects among rows by what they hold under a key, read as text."""
    return {str(row[key]): row for row in rows if isinstance(row, dict) and key in row}
