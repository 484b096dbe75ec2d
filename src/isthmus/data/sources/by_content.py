"""Files whose content tells their layout: conversations and captions, as JSON or JSON lines."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

from isthmus.data.sample import Sample
from isthmus.data.sources import content_of_row, rows_of
from isthmus.data.sources.base import Reader


@final
class ByContent(Reader):
    """Reads what `--data` reads; the keys of a row tell its layout."""

    def rows(self, files: Mapping[str, Path]) -> Sequence[Any]:
        """Returns the rows; see `rows_of`."""
        return rows_of(files["file"])

    def content(self, row: Any, *, name: str, image_root: Path) -> Sample:
        """Returns the sample of a row; see `Reader.content`."""
        return content_of_row(row, name=name, image_root=image_root)


READER = ByContent
