"""Tiny archives and tables, as data sets come in."""

import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from tests.tiny import tiny_image

PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""The type of `datasets.Image`."""


def png(seed: int = 0) -> bytes:
    content = io.BytesIO()
    tiny_image(seed, width=12, height=8).save(content, "PNG")
    return content.getvalue()


def write_tar(path: Path, members: Mapping[str, bytes] | Iterable[tuple[str, bytes]]) -> Path:
    pairs = members.items() if isinstance(members, Mapping) else members
    with tarfile.open(path, "w") as tar:
        for name, content in pairs:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def write_table(path: Path, rows: list[dict[str, Any]], schema: pa.Schema | None = None) -> Path:
    """Writes parquet in groups of two rows, or Arrow, as a stream if the name says so."""
    table = pa.Table.from_pylist(rows, schema=schema)
    if path.suffix == ".parquet":
        parquet.write_table(table, path, row_group_size=2)
        return path
    form = pa.ipc.new_stream if "stream" in path.name else pa.ipc.new_file
    with form(path, table.schema) as file:
        file.write_table(table, max_chunksize=2)
    return path
