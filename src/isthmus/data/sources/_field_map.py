"""Where a data set of one file keeps its facts, as data."""

from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, final

from isthmus import kinds
from isthmus.config import Config
from isthmus.data.facts import KIND
from isthmus.data.sources._values import BoxForm, check_template

MappedFact = Literal["caption", "vqa", "choice", "judgement", "region", "pointing"]
"""A text with places in it is more than fields, and needs a module of its own."""

FACT_OF: dict[str, type[Any]] = {kind: fact for fact, kind in KIND.items() if kind != "grounded"}

Names = str | tuple[str, ...]
"""A field, or several that are put into one list."""


@final
@dataclass(frozen=True, kw_only=True)
class FieldMap(Config):
    """Tells where the rows of a file are, and which of their fields say what.

    A field is named as it stands in the row; `answers.answer` leads into objects, and takes the
    value of each where they are in a list. A template is a name with fields in braces, such as
    `{split}2017/{image_id:012d}.jpg`.
    """

    fact: MappedFact
    """What a row tells; see `isthmus.data.facts`."""
    fields: dict[str, Names]
    """The field of each attribute of the fact. Of several `answers` the most frequent is learned,
    the first of those that are equally so, where no `answer` is named."""
    format: Literal["json", "csv"] = "json"
    """`json` is one document, or one to a line."""
    rows: str = ""
    """Where in the document the rows are; it is itself a list of them where this is empty."""
    key: str = ""
    """Rows are the values of an object: the field that its keys become."""
    columns: tuple[str, ...] = ()
    """Names of the columns of a table without a first line of names; the last one takes the rest
    of a line."""
    delimiter: str = ","
    """Stands between the columns of a table."""
    each: tuple[str, ...] = ()
    """Lists of equal length: a row tells a fact for each place in them."""
    constants: dict[str, str | int | bool] = field(default_factory=dict)
    """Fields of rows that do not have them."""
    where: dict[str, tuple[str | int | bool | None, ...]] = field(default_factory=dict)
    """Values that a field may have; other rows are filtered, and counted by the field's name."""
    id: str = ""
    """Template of an item's name; empty for the number of the row."""
    image: Names = ()
    """Template of the path of the image, or of several, within the image root."""
    video: bool = False
    """Whether the image is a clip."""
    box: BoxForm = "xyxy"
    """How boxes are written."""
    task: str = ""
    """What the data set trains; the kind of the fact where this is empty."""
    meta: tuple[str, ...] = ()
    """Fields that are kept beside the facts where a row has them."""

    def __post_init__(self) -> None:
        """Checks that what the fact needs is named, and nothing that would be ignored.

        Raises:
            ValueError: it is not.
        """
        attributes = {each.name: each for each in fields(FACT_OF[self.fact])}
        for name in self.fields:
            if name not in attributes:
                what = f"attribute of the fact {self.fact}"
                raise ValueError(kinds.unknown(name, list(attributes), what=what))
        given = {*self.fields, *({"answer"} if "answers" in self.fields else ())}
        needed = [name for name, each in attributes.items() if each.default is MISSING]
        if lacking := [name for name in needed if name not in given]:
            raise ValueError(
                f"the fields of a fact {self.fact} lack {', '.join(lacking)}; name where it lies"
            )
        if self.format == "csv" and (self.rows or self.key):
            raise ValueError("a table has neither rows nor key; leave them out, or set format=json")
        if self.format == "json" and (self.columns or self.delimiter != ","):
            raise ValueError("columns and delimiter are those of a table; set format=csv")
        if len(self.delimiter) != 1:
            raise ValueError(f"delimiter is {self.delimiter!r}; expected one character")
        for template in (self.id, *self.images):
            check_template(template)

    @property
    def images(self) -> tuple[str, ...]:
        """Templates of the paths of the images."""
        return (self.image,) if isinstance(self.image, str) else self.image
