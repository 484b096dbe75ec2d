"""Facts about images become a conversation."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import final

from isthmus.data.facts import KIND, Fact, Item, Size
from isthmus.data.sample import ImagePart, Message, Sample, Text
from isthmus.data.templates.template import (
    Diversity,
    Granularity,
    Identifier,
    Template,
    TemplateSet,
    fields_of,
    template_set,
)
from isthmus.data.templates.wording import WORDS, WriteBoxes, words_of
from isthmus.geometry.boxes import Box, format_boxes


def write_per_mille(boxes: Sequence[Box], size: Size) -> str:
    """Writes boxes as CogVLM does: `[[x0,y0,x1,y1]]` in thousandths of the picture."""
    return format_boxes(boxes, size, digits=3)


@final
@dataclass(frozen=True, kw_only=True)
class Instructions:
    """How the facts of a data set are put to a model."""

    name: str
    """Of the data set."""
    template: TemplateSet | None = None
    """Its own ways to ask; None where it has none."""
    granularity: Granularity = "fine"
    """Whether its own ways are used, or those of its kind of facts."""
    diversity: Diversity = "single"
    """From how many ways one is drawn for each conversation."""
    identifier: Identifier | None = None
    """What stands before the bare question in place of an instruction: the name of the data set, or
    that of its task."""
    shuffle: bool = False
    """Whether the order of choices is drawn each time."""
    write_boxes: WriteBoxes = write_per_mille
    """How boxes are written."""

    def check(self, kind: type[Fact]) -> None:
        """Checks that the templates can tell facts of a kind.

        Raises:
            ValueError: a word in braces is none of theirs.
        """
        ways = self._ways(kind)
        if unknown := sorted(ways.fields - WORDS[kind]):
            words = ", ".join(sorted(WORDS[kind]))
            raise ValueError(
                f"the template set {ways.name!r} of the data set {self.name!r} uses "
                f"{{{unknown[0]}}}; a fact of kind {KIND[kind]!r} has {words}"
            )

    def sample(self, item: Item, chance: Random) -> Sample:
        """Returns the conversation about an item's images: a question and an answer for each fact.

        Args:
            item: facts and images.
            chance: draws the template and the order of choices.

        Raises:
            Fault: a box or an answer cannot be written.
            ValueError: the template does not fit the kind of facts.
        """
        self.check(type(item.facts[0]))
        template = self._template(item, chance)
        messages: list[Message] = []
        for fact in item.facts:
            words = words_of(
                fact,
                images=item.images,
                write_boxes=self.write_boxes,
                chance=chance,
                shuffle=self.shuffle,
            )
            before, ask, answer = (
                text.format_map({name: words[name]() for name in fields_of(text)})
                for text in (*template.around_images, template.answer)
            )
            shown = () if messages else tuple(ImagePart() for _ in item.images)
            first = (Text(before),) if before else ()
            messages += [
                Message("user", (*first, *shown, Text(ask))),
                Message("assistant", (Text(answer),)),
            ]
        return Sample(
            id=item.id,
            messages=tuple(messages),
            images=item.images,
            task=item.task,
            meta=item.meta,
        )

    def _ways(self, kind: type[Fact]) -> TemplateSet:
        if self.granularity == "fine" and self.template is not None:
            return self.template
        return template_set(KIND[kind])

    def _template(self, item: Item, chance: Random) -> Template:
        kind = type(item.facts[0])
        if self.identifier is None:
            return self._ways(kind).draw(self.diversity, chance)
        bare = template_set(KIND[kind]).bare
        assert bare is not None  # every kind has it, as the tests see to
        called = self.name if self.identifier == "dataset" else item.task
        mark = called.replace("{", "{{").replace("}", "}}")
        return Template(ask=f"{mark}: {bare.ask}".removesuffix(": "), answer=bare.answer)
