"""Templates: how a fact is asked for and answered, as data.

Paper: Honeybee, arXiv 2312.06742, section 4 and table 13: one template for each data set (fine) or
    each task (coarse); one of them, ten, or ten of which three are inverted; a name in place of an
    instruction. The sets of `honeybee.` are those that its code released. `llava.` are the prompts
    of LLaVA-1.5 (arXiv 2310.03744), `blip2.` those of BLIP-2 (arXiv 2301.12597) and `vadapter.`
    those of PaLM2-VAdapter (arXiv 2402.10896, table 11). `cogvlm.` are the tasks of CogVLM (arXiv
    2311.03079), whose words around a question are its chat template's.
Differs: the paper's ten templates were not released, and those of `templates.yaml` are ours; so are
    the words for CogVLM's boxes, of which its code has some 400. Captions are not inverted: a
    language model draws no picture. Questions keep their own mark; PaLM2-VAdapter's table writes
    one behind each.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from random import Random
from string import Formatter
from typing import Any, Literal, final, get_args

import yaml

from isthmus.kinds import unknown

Granularity = Literal["fine", "coarse"]
Diversity = Literal["single", "ten", "ten_flipped"]
Identifier = Literal["dataset", "task"]

_IMAGES = "{images}"
NUM_FLIPPED = 3
"""Inverted templates among ten."""


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Template:
    """One way to ask for a fact."""

    ask: str
    """Images stand before it, or where it says `{images}`."""
    answer: str

    @property
    def around_images(self) -> tuple[str, str]:
        """What is asked before the images, and after them."""
        before, mark, after = self.ask.partition(_IMAGES)
        return (before, after) if mark else ("", before)


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class TemplateSet:
    """The ways to ask for the facts of a data set, or of a kind."""

    name: str
    straight: tuple[Template, ...]
    flipped: tuple[Template, ...] = ()
    flipped_share: float = 0.0
    """Share of conversations that are inverted, if not all ways are equally likely."""
    bare: Template | None = None
    """What is asked after an identifier."""

    @classmethod
    def from_dict(cls, name: str, value: Any) -> "TemplateSet":
        """Reads a set as `templates.yaml` writes it.

        Raises:
            ValueError: it is not written like that.
        """
        spelled = _checked(value, f"the template set {name!r}", _KEYS)
        straight = _templates(spelled, name)
        flipped = spelled.get("flipped")
        share = spelled.get("flipped_share", 0.0)
        if not isinstance(share, int | float) or not 0 <= share <= 1 or (share and not flipped):
            raise ValueError(
                f"the template set {name!r} has the flipped_share {share!r}; expected a share in "
                "[0, 1], and flipped templates where it is not 0"
            )
        bare = spelled.get("bare")
        return cls(
            name=name,
            straight=straight,
            flipped=_templates(_checked(flipped, f"{name}.flipped", _FLIPPED), name)
            if flipped is not None
            else (),
            flipped_share=float(share),
            bare=None if bare is None else Template(ask=str(bare), answer=straight[0].answer),
        )

    def draw(self, diversity: Diversity, chance: Random) -> Template:
        """Returns one of the ways, drawn for a whole conversation."""
        if self.flipped_share:
            is_flipped = chance.random() < self.flipped_share
            ways = self.flipped if is_flipped else self.straight
            return ways[0] if diversity == "single" else chance.choice(ways)
        if diversity == "single":
            return self.straight[0]
        if diversity == "ten" or not self.flipped:
            return chance.choice(self.straight)
        flipped = self.flipped[:NUM_FLIPPED]
        kept = max(1, len(self.straight) - len(flipped))
        return chance.choice((*self.straight[:kept], *flipped))

    @property
    def fields(self) -> frozenset[str]:
        """The words in braces that the set uses."""
        ways = (*self.straight, *self.flipped, *((self.bare,) if self.bare else ()))
        texts = (text for way in ways for text in (*way.around_images, way.answer))
        return frozenset().union(*map(fields_of, texts))


def template_set(name: str) -> TemplateSet:
    """Returns a set of `templates.yaml`.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in template_sets():
        raise ValueError(unknown(name, sorted(template_sets()), what="template set"))
    return template_sets()[name]


@cache
def template_sets() -> Mapping[str, TemplateSet]:
    """Returns the sets of `templates.yaml` by name."""
    text = files(__package__).joinpath("templates.yaml").read_text(encoding="utf-8")
    return {
        name: TemplateSet.from_dict(name, value) for name, value in yaml.safe_load(text).items()
    }


def fields_of(text: str) -> frozenset[str]:
    """Returns the words in braces of a template's text.

    Raises:
        ValueError: a brace is not closed, or more than a word stands in the braces.
    """
    try:
        found = [
            (name, spec, how) for _, name, spec, how in Formatter().parse(text) if name is not None
        ]
    except ValueError as error:
        raise ValueError(
            f"the template {text!r} has unmatched braces; write {{{{ for one"
        ) from error
    for name, spec, how in found:
        if not name.isidentifier() or spec or how:
            raise ValueError(f"the template {text!r} has {name!r} in braces; expected one word")
    return frozenset(name for name, *_ in found)


_FLIPPED = ("asks", "answer")
_KEYS = (*_FLIPPED, "bare", "flipped", "flipped_share")
DIVERSITIES: tuple[Diversity, ...] = get_args(Diversity)


def _checked(value: Any, what: str, keys: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is {value!r:.80}; expected an object with {', '.join(keys)}")
    for key in value:
        if key not in keys:
            raise ValueError(unknown(str(key), list(keys), what=f"key of {what}"))
    return value


def _templates(value: Mapping[str, Any], name: str) -> tuple[Template, ...]:
    asks, answer = value.get("asks"), value.get("answer")
    are_texts = isinstance(asks, list) and asks and all(isinstance(ask, str) for ask in asks)
    if not are_texts or not isinstance(answer, str) or not answer:
        raise ValueError(
            f"the template set {name!r} has the asks {asks!r:.80} and the answer {answer!r:.80}; "
            "expected a list of texts and a text"
        )
    assert isinstance(asks, list)
    return tuple(Template(ask=ask, answer=answer) for ask in asks)
