"""Boxes in the words of many models: a convention, by its name, writes boxes and reads them back.

=========== ============================ =============== ========== ===========================
name        a coordinate                 of the          known from several boxes
=========== ============================ =============== ========== ===========================
cogvlm      cell, 000-999                picture         code       `;`
isthmus     cell, 00-99                  picture         ours       `;`
llava       0-1, at most 2 decimals      padded square   unverified `, ` between lists (ours)
honeybee    0-1, 3 decimals              picture         code       `,` between lists (ours)
shikra      0-1, 3 decimals              padded square   code       `;`
qwen_vl     0-999                        picture         evaluation one `<box>` each
qwen2_5_vl  whole pixels                 resized picture unverified JSON list
qwen3_vl    0-1000                       picture         evaluation JSON list
kosmos_2    cell of 32 x 32, as a token  picture         code       token between them
paligemma   0-1023, as a token, y first  picture         code       ` ; ` (unverified)
florence_2  cell, 0-999, as a token      picture         code       one behind another
fuyu        half pixels, y first         resized picture code       one `<box>` each (ours)
internvl    0-1000                       picture         evaluation `, ` within `<box>` (ours)
ferret      0-1000                       picture         evaluation `, ` between lists (ours)
minigpt_v2  0-100                        picture         code       `<delim>`
=========== ============================ =============== ========== ===========================

`evaluation` means that published code reads it so, and that the rounding of what was learned from
is unverified. What is said of a box, a phrase in `<ref>` or a `label`, belongs to the text around
it: readers pass over it and writers leave it out.

Differs: cells are read at their middle, where CogVLM's code reads their lower edge. Florence-2's
and Fuyu's cut what they read to whole pixels, and Florence-2's may take the cell before an edge
that lies between two. MiniGPT-v2's rounds down what it writes. Fuyu's keeps each number as a token
between `<0x00>` and `<0x01>`, and shows `<box>` to people alone.
"""

from collections.abc import Mapping

from isthmus import kinds
from isthmus.geometry.box_codecs import BoxText, CellText, GridText, Layout, PatchText


def convention(name: str) -> BoxText:
    """Returns a convention by its name.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in CONVENTIONS:
        raise ValueError(kinds.unknown(name, list(CONVENTIONS), what="box convention"))
    return CONVENTIONS[name]


def _list(box: str, joins: str, *, is_shared: bool = False) -> Layout:
    """Numbers in single brackets; brackets without a digit are prose."""
    begun = r"\[(?=[^\[\]]*\d)(?P<inner>[^\[\]]*)(?P<end>\]?)"
    return Layout(begun=begun, opens="[", box=box, joins=joins, closes="]", is_shared=is_shared)


def _tokens(name: str, joins: str) -> Layout:
    """A token for each number; of a run, what is left over behind whole boxes is unread."""
    return Layout(
        begun=rf"<{name}(?P<inner>[^<>]*(?:>\s*<{name}[^<>]*){{0,3}})(?P<end>>?)",
        opens=f"<{name}",
        box=f"{{}}><{name}{{}}><{name}{{}}><{name}{{}}",
        joins=f">{joins}<{name}",
        closes=">",
    )


def _tagged(opens: str, box: str, joins: str, closes: str, *, is_shared: bool = False) -> Layout:
    """Numbers between `<box>` and `</box>`."""
    begun = r"<box>(?P<inner>.*?)(?P<end></box>|(?=<box>)|\Z)"
    return Layout(
        begun=begun, opens=opens, box=box, joins=joins, closes=closes, is_shared=is_shared
    )


_SPACED = "{}, {}, {}, {}"
_CLOSE = "{},{},{},{}"
_Y_FIRST = (1, 0, 3, 2)
_JSON = Layout(
    begun=r"""(?:bbox_2d["'\s:]*\[?|\[(?=[^\[\]{}]*\d))(?P<inner>[^\[\]{}]*)(?P<end>\]?)""",
    opens='[{"bbox_2d": [',
    box=_SPACED,
    joins=']}, {"bbox_2d": [',
    closes="]}]",
)

_PATCHES = Layout(
    begun=r"(?:<(?=patch_index_)|<object>(?!\s*<patch_index_))"
    r"(?P<inner>[^<>]*(?:>\s*<patch_index_[^<>]*)?)(?P<end>>?)",
    opens="<object><",
    box="patch_index_{}><patch_index_{}",
    joins="></delimiter_of_multi_objects/><",
    closes="></object>",
)
_BRACED = Layout(
    begun=r"\{\s*<(?P<inner>[^{}]*)(?P<end>\}?)",
    opens="{<",
    box="{}><{}><{}><{}",
    joins=">}<delim>{<",
    closes=">}",
)

_PAIRS = _tagged("<box>(", "{},{}),({},{}", ")</box><box>(", ")</box>")
_FOURS = _tagged("<box>", _SPACED, "</box><box>", "</box>")
_LISTS = _tagged("<box>[[", _SPACED, "], [", "]]</box>", is_shared=True)

CONVENTIONS: Mapping[str, BoxText] = {
    "cogvlm": CellText(3),
    "isthmus": CellText(2),
    "llava": GridText(layout=_list(_SPACED, "], ["), num_steps=100, is_padded=True, num_decimals=2),
    "honeybee": GridText(layout=_list(_CLOSE, "],["), num_decimals=3, style=".3f"),
    "shikra": GridText(
        layout=_list(_CLOSE, ";", is_shared=True), is_padded=True, num_decimals=3, style=".3f"
    ),
    "qwen_vl": GridText(layout=_PAIRS, num_steps=999),
    "qwen2_5_vl": GridText(layout=_JSON, num_steps=None),
    "qwen3_vl": GridText(layout=_JSON),
    "kosmos_2": PatchText(layout=_PATCHES),
    "paligemma": GridText(
        layout=_tokens("loc", joins=" ; "), num_steps=1023, order=_Y_FIRST, style="04d"
    ),
    "florence_2": GridText(layout=_tokens("loc_", joins=""), is_cell=True),
    "fuyu": GridText(layout=_FOURS, num_steps=None, num_pixels=2, order=_Y_FIRST),
    "internvl": GridText(layout=_LISTS),
    "ferret": GridText(layout=_list(_SPACED, "], [")),
    "minigpt_v2": GridText(layout=_BRACED, num_steps=100),
}
"""The conventions by name."""
