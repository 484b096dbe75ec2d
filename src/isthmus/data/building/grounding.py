"""A caption and what a detector found of its phrases, joined: the grounded caption."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, final, get_args

from isthmus.config import Config
from isthmus.data.building.detector import Detection
from isthmus.data.building.phrases import Span
from isthmus.data.faults import Fault
from isthmus.geometry.boxes import Box, check_box, format_boxes, intersection, iou, parse_boxes

DIGITS = 3
"""Of a coordinate: CogVLM writes per mille."""

DroppedBox = Literal["malformed", "low_score", "outside", "tiny", "repeated", "phrase_overlaps"]
"""Why a box is not kept; of several reasons the first in this order.

`malformed` is not four ordered finite numbers and a finite score, `repeated` covers a surer box of
the same phrase, and `phrase_overlaps` is a box of a phrase that gave way to another."""
DroppedPhrase = Literal["no_box", "overlaps"]


@final
@dataclass(frozen=True, kw_only=True)
class Limits(Config):
    """Which boxes are believed."""

    least_score: float = 0.65
    """CogVLM does not tell its own; this is said to be Kosmos-2's, arXiv 2306.14824 (unverified).
    It belongs to the detector: set it for yours."""
    most_overlap: float = 0.5
    """Intersection over union with a surer box of the phrase, above which a box repeats it."""
    least_area: float = 1e-4
    """Units: a share of the picture."""

    def __post_init__(self) -> None:
        """Checks the shares.

        Raises:
            ValueError: one is outside 0 to 1.
        """
        for name in ("most_overlap", "least_area"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise ValueError(f"limits.{name} is {value}; expected a share, 0 to 1")


@final
@dataclass(frozen=True, slots=True)
class GroundedPhrase:
    """A phrase with at least one box, from left to right, then from the top, and their scores."""

    span: Span
    boxes: tuple[Box, ...]
    scores: tuple[float, ...]


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class GroundedCaption:
    """A caption, and where in the picture its phrases are. Units: original pixels."""

    caption: str
    size: tuple[int, int]
    """Width and height of the picture."""
    phrases: tuple[GroundedPhrase, ...]
    """In the order of the caption; none overlaps another."""
    dropped_boxes: Mapping[DroppedBox, int]
    dropped_phrases: Mapping[DroppedPhrase, int]

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The different boxes; one that several phrases name stands here once."""
        return tuple(dict.fromkeys(box for phrase in self.phrases for box in phrase.boxes))

    @property
    def text(self) -> str:
        """The caption with its boxes, as in `a cat [[010,020,300,400]] on a mat`."""
        pieces, end = [], 0
        for phrase in self.phrases:
            boxes = format_boxes(phrase.boxes, self.size, DIGITS)
            pieces.append(f"{self.caption[end : phrase.span.end]} {boxes}")
            end = phrase.span.end
        return "".join(pieces) + self.caption[end:]


def ground_caption(
    caption: str,
    spans: Sequence[Span],
    detections: Sequence[Sequence[Detection]],
    *,
    size: tuple[int, int],
    limits: Limits | None = None,
) -> GroundedCaption:
    """Joins the phrases of a caption with what was found of them.

    Of phrases that overlap, the longest that has a box is kept, and of equally long ones the first:
    "the red car" before "car", but "car" where the longer one was not found. Boxes are cut at the
    edges of the picture before they are measured and compared.

    Args:
        caption: what is said of the picture.
        spans: its noun phrases, in any order.
        detections: what was found of each of them.
        size: width and height of the picture in original pixels.
        limits: which boxes are believed.

    Raises:
        Fault: the caption holds brackets that would be read as a box.
        ValueError: a span leaves the caption, or there are more or fewer detections than spans.
    """
    if any(not 0 <= span.start < span.end <= len(caption) for span in spans):
        raise ValueError(f"spans {spans!r:.80} leave the caption of {len(caption)} characters")
    if len(spans) != len(detections):
        raise ValueError(
            f"the detector answered {len(detections)} of {len(spans)} phrases; expected a "
            "sequence for each, empty where nothing was found"
        )
    check_caption(caption)
    dropped_boxes: Counter[DroppedBox] = Counter(dict.fromkeys(get_args(DroppedBox), 0))
    believed = [_believed(found, size, limits or Limits(), dropped_boxes) for found in detections]
    found = [_phrase(span, boxes) for span, boxes in zip(spans, believed, strict=True) if boxes]
    kept = _without_overlaps(found)
    num_boxes = sum(len(phrase.boxes) for phrase in found)
    dropped_boxes["phrase_overlaps"] = num_boxes - sum(len(phrase.boxes) for phrase in kept)
    return GroundedCaption(
        caption=caption,
        size=size,
        phrases=tuple(kept),
        dropped_boxes=dict(dropped_boxes),
        dropped_phrases={"no_box": len(spans) - len(found), "overlaps": len(found) - len(kept)},
    )


def check_caption(caption: str) -> None:
    """Checks that a caption can be told from boxes written into it.

    Raises:
        Fault: it holds brackets that would be read as a box.
    """
    there = parse_boxes(caption, digits=DIGITS)
    if there.boxes or there.unread:
        raise Fault(
            "wrong_layout",
            f"the caption {caption!r:.80} holds brackets that read as a box; take them out",
        )


def _believed(
    detections: Sequence[Detection],
    size: tuple[int, int],
    limits: Limits,
    dropped: Counter[DroppedBox],
) -> list[Detection]:
    """Returns the detections of a phrase that stay, the surest first, and counts the others."""
    picture, least_area = (0, 0, *size), limits.least_area * size[0] * size[1]
    kept: list[Detection] = []
    sound = [found for found in detections if _is_sound(found)]
    dropped["malformed"] += len(detections) - len(sound)
    for found in sorted(sound, key=lambda found: -found.score):
        cut = intersection(found.box, picture)
        if found.score < limits.least_score:
            dropped["low_score"] += 1
        elif cut is None:
            dropped["outside"] += 1
        elif (cut[2] - cut[0]) * (cut[3] - cut[1]) < least_area:
            dropped["tiny"] += 1
        elif any(iou(cut, surer.box) > limits.most_overlap for surer in kept):
            dropped["repeated"] += 1
        else:
            # Detectors give numbers of their own kinds, which JSON does not know.
            x0, y0, x1, y1 = map(float, cut)
            kept.append(Detection((x0, y0, x1, y1), float(found.score)))
    return kept


def _is_sound(found: Detection) -> bool:
    try:
        check_box(found.box)
    except ValueError:
        return False
    return math.isfinite(found.score)


def _phrase(span: Span, found: Sequence[Detection]) -> GroundedPhrase:
    placed = sorted(found, key=lambda one: one.box)
    return GroundedPhrase(span, tuple(d.box for d in placed), tuple(d.score for d in placed))


def _without_overlaps(phrases: Sequence[GroundedPhrase]) -> list[GroundedPhrase]:
    """Returns the phrases that stay where some overlap, in the order of the caption."""
    kept: list[GroundedPhrase] = []
    for phrase in sorted(phrases, key=lambda p: (p.span.start - p.span.end, p.span.start)):
        if all(
            phrase.span.end <= other.span.start or other.span.end <= phrase.span.start
            for other in kept
        ):
            kept.append(phrase)
    return sorted(kept, key=lambda phrase: phrase.span)
