"""Data sets of one file whose rows only need other names: read by a field map."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, final

import yaml

from isthmus.data.facts import Fact, Item
from isthmus.data.faults import Fault, Filtered, Reason
from isthmus.data.sources import _values as values
from isthmus.data.sources._field_map import FACT_OF, FieldMap, Names
from isthmus.data.sources._files import decoded, read_json, read_rows, read_table
from isthmus.data.sources.base import Reader, Row, expect, image_paths

MAPS_FILE = "field_maps.yaml"

_ABSENT: dict[str, Reason] = {
    "question": "no_question",
    "answer": "no_answer",
    "answers": "no_answer",
    "index": "no_answer",
    "is_true": "no_answer",
    "text": "no_answer",
}
"""What a row lacks that has nothing in a field; test splits keep their answers back."""
_OPTIONAL = ("context", "reasons", "size")
_TRUTH = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


@final
@dataclass(frozen=True, kw_only=True)
class Fields(Reader):
    """Reads a data set of one file as a field map says."""

    files: ClassVar[tuple[str, ...]] = ("file",)

    field_map: FieldMap

    @classmethod
    def from_map(cls, given: Mapping[str, Any]) -> "Fields":
        """Returns the reader of a field map, as a YAML or JSON file holds it.

        Raises:
            ValueError: it is no field map; the message names the key and the nearest valid one.
        """
        return cls(field_map=FieldMap.from_dict(given))

    def rows(self, files: Mapping[str, Path]) -> Sequence[Any]:
        """Returns the rows of the file; see `Reader.rows`."""
        here, file = self.field_map, files["file"]
        if here.format == "csv":
            return read_table(file, here.columns, here.delimiter)
        if not (here.rows or here.key):
            return read_rows(file)
        found = read_json(file)
        if here.rows:
            found = values.value_at(found, here.rows) if isinstance(found, dict) else None
        if here.key and isinstance(found, dict):
            return [
                {**row, here.key: key} if isinstance(row, dict) else row
                for key, row in found.items()
            ]
        if here.key or not isinstance(found, list):
            expected = "an object of rows" if here.key else "a list of rows"
            place = f" under {here.rows!r}" if here.rows else ""
            raise ValueError(f"{file} has {found!r:.80}{place}; expected {expected}")
        return found

    def content(self, row: Any, *, name: str, image_root: Path) -> Item:
        """Returns what a row says; see `Reader.content`."""
        here = self.field_map
        row = {**here.constants, **decoded(row)}
        for field, allowed in here.where.items():
            if values.value_at(row, field) not in allowed:
                raise Filtered(field)
        paths = [values.filled(template, row) for template in here.images]
        told = {field: values.value_at(row, field) for field in here.meta}
        return Item(
            id=values.filled(here.id, row) or name,
            images=image_paths(paths, image_root),
            facts=tuple(self._fact(part) for part in self._parts(row)),
            task=here.task or here.fact,
            meta={key: value for key, value in told.items() if value is not None}
            | ({"video": True} if here.video else {}),
        )

    def _parts(self, row: Row) -> Iterator[Row]:
        """Yields the row for each place in its lists, with what stands there in their stead."""
        if not self.field_map.each:
            yield row
            return
        names = self.field_map.each
        lists = [expect(values.value_at(row, name), list, name) for name in names]
        if len({len(found) for found in lists}) > 1:
            lengths = ", ".join(map(str, map(len, lists)))
            raise Fault("wrong_layout", f"{', '.join(names)} have {lengths} places; expected one")
        for place in zip(*lists, strict=True):
            yield {**row, **dict(zip(names, place, strict=True))}

    def _fact(self, row: Row) -> Fact:
        said: dict[str, Any] = {}
        for attribute, names in self.field_map.fields.items():
            value = _gathered(row, attribute, names)
            if value is not None and value != []:
                said[attribute] = self._read(attribute, value)
            elif attribute not in _OPTIONAL:
                reason = _ABSENT.get(attribute, "wrong_layout")
                raise Fault(reason, f"the row has no {attribute}, expected in {names!r}")
        if "answers" in said and "answer" not in said:
            said["answer"] = Counter(said["answers"]).most_common(1)[0][0]
        return FACT_OF[self.field_map.fact](**said)

    def _read(self, attribute: str, value: Any) -> Any:
        match attribute:
            case "answers" | "choices" | "reasons":
                return values.texts(value, attribute)
            case "index":
                return _index(value)
            case "is_true":
                return _truth(value)
            case "size":
                return values.size(*_pair(value))
            case "box":
                return values.box(value, attribute, self.field_map.box)
            case "boxes":
                boxes = expect(value, list, attribute)
                return tuple(values.box(each, "a box", self.field_map.box) for each in boxes)
        return values.text(value, attribute)


@cache
def known_maps() -> Mapping[str, Mapping[str, Any]]:
    """Returns the field maps that are known by name, as they are written."""
    return yaml.safe_load(Path(__file__).with_name(MAPS_FILE).read_text(encoding="utf-8"))


def _gathered(row: Row, attribute: str, names: Names) -> Any:
    """Returns the value of an attribute; None, or an empty list, where there is none."""
    if isinstance(names, str):
        return values.value_at(row, names)
    found = [values.value_at(row, name) for name in names]
    if attribute in ("box", "size"):  # each has its place
        return None if None in found else found
    return [value for value in found if value is not None and value != ""]


def _index(value: Any) -> int:
    """Returns the number of a choice from 0, which some data sets tell by its letter."""
    if isinstance(value, str) and len(value) == 1 and "A" <= value <= "Z":
        return ord(value) - ord("A")
    return values.whole(value, "index")


def _truth(value: Any) -> bool:
    found = _TRUTH.get(str(value).lower())
    if found is None:
        raise Fault(
            "wrong_layout", f"is_true is {value!r:.80}; expected one of {', '.join(_TRUTH)}"
        )
    return found


def _pair(value: Any) -> tuple[Any, Any]:
    sides = expect(value, list, "size")
    if len(sides) != 2:
        raise Fault("wrong_layout", f"size is {value!r:.80}; expected width and height")
    return sides[0], sides[1]
