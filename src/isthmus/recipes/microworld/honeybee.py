"""Honeybee in small: what keeps the place of what it tells, and what does not; both stages."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from isthmus.connectors.base import ConnectorConfig
from isthmus.connectors.c_abstractor import CAbstractor
from isthmus.connectors.d_abstractor import DAbstractor
from isthmus.connectors.honeybee_resampler import HoneybeeResampler
from isthmus.connectors.linear import Linear
from isthmus.recipes._named import named
from isthmus.recipes.microworld._shared import (
    ALONE_LR,
    D_HEAD,
    HEADS,
    LANGUAGE,
    LAYERED_LR,
    LINEAR_LR,
    NUM_TOKENS,
    alone,
    captions,
    clips,
    connector,
    instructions,
    joined,
)
from isthmus.training.stage import Recipe


def honeybee_c_abstractor() -> Recipe:
    """Honeybee in small: convolutions and a pooling to a quarter of the patches.

    Paper: arXiv 2312.06742, sections 3 and 4: the connector alone, then the language model, too.
    Differs: the rates are those of a small model; one file of questions in place of thirteen.
    Expected: score 0.67 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: 2 CPU cores, 2 GB of memory; about 4 minutes.
    Command: `isthmus train microworld.honeybee_c_abstractor --output DIR`
    """
    return _both(honeybee_c_abstractor, _C_ABSTRACTOR)


def honeybee_c_abstractor_clips() -> Recipe:
    """Honeybee in small with clips, each frame an image of its own, after `honeybee_c_abstractor`.

    Paper: none of its own; PaLM2-VAdapter, arXiv 2402.10896, for clips of 8 frames. Here each frame
        has 16 visual tokens, where there the whole clip has as many as an image.
    Expected: 0.51 of what captions say, 0 without pictures; questions as without; mean of 3 seeds.
    Hardware: as `honeybee_c_abstractor`, about twice as long.
    Command: `isthmus train microworld.honeybee_c_abstractor_clips
        --start runs/honeybee_c_abstractor --output DIR`
    """
    stages = clips(*_BESIDE)
    model, start = joined(_C_ABSTRACTOR), Path("runs/honeybee_c_abstractor")
    return named(honeybee_c_abstractor_clips, *stages, model=model, start=start)


def honeybee_c_abstractor_clips_directions() -> Recipe:
    """Honeybee in small with clips, asked long enough to tell where things move.

    Paper: none of its own; as `honeybee_c_abstractor_clips`, from which it goes on.
    Expected: 0.53 of directions, 0.27 without pictures; mean of 3 seeds.
    Hardware: as `honeybee_c_abstractor`.
    Command: `isthmus train microworld.honeybee_c_abstractor_clips_directions
        --start runs/honeybee_c_abstractor_clips --output DIR`
    """
    return _after_clips(honeybee_c_abstractor_clips_directions, "directions", 4000, "direction")


def honeybee_c_abstractor_clips_first() -> Recipe:
    """Honeybee in small with clips, asked long enough to tell what comes first.

    Paper: none of its own; as `honeybee_c_abstractor_clips`, from which it goes on.
    Expected: 0.73 of what comes first, 0.50 without pictures; mean of 3 seeds, 0.58 to 0.81.
    Hardware: as `honeybee_c_abstractor`, about three times as long.
    Command: `isthmus train microworld.honeybee_c_abstractor_clips_first
        --start runs/honeybee_c_abstractor_clips --output DIR`
    """
    return _after_clips(honeybee_c_abstractor_clips_first, "first", 8000, "first")


def honeybee_c_abstractor_clips_visits() -> Recipe:
    """Honeybee in small with clips, asked long enough to count over time how often things come.

    Paper: none of its own; as `honeybee_c_abstractor_clips`, from which it goes on.
    Expected: 0.48 of numbers, 0.27 without pictures; mean of 3 seeds.
    Hardware: as `honeybee_c_abstractor`, about three times as long.
    Command: `isthmus train microworld.honeybee_c_abstractor_clips_visits
        --start runs/honeybee_c_abstractor_clips --output DIR`
    """
    return _after_clips(honeybee_c_abstractor_clips_visits, "visits", 8000, "visits")


def honeybee_c_abstractor_m4() -> Recipe:
    """Honeybee in small, with 4 visual tokens.

    Paper: arXiv 2312.06742, table 8: fewer tokens, fewer points.
    Expected: score 0.43 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `honeybee_c_abstractor`.
    Command: `isthmus train microworld.honeybee_c_abstractor_m4 --output DIR`
    """
    return _both(honeybee_c_abstractor_m4, CAbstractor.Config(num_queries=4, depth=1))


def honeybee_c_abstractor_m64() -> Recipe:
    """Honeybee in small, with a visual token for each patch.

    Paper: arXiv 2312.06742, table 8: more tokens, more points.
    Expected: score 0.63 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `honeybee_c_abstractor`.
    Command: `isthmus train microworld.honeybee_c_abstractor_m64 --output DIR`
    """
    return _both(honeybee_c_abstractor_m64, CAbstractor.Config(num_queries=64, depth=1))


def honeybee_d_abstractor() -> Recipe:
    """Honeybee in small: deformable attention from points of the picture.

    Paper: arXiv 2312.06742, sections 3 and 4.
    Differs: as `honeybee_c_abstractor`.
    Expected: score 0.61 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `honeybee_c_abstractor`.
    Command: `isthmus train microworld.honeybee_d_abstractor --output DIR`
    """
    abstractor = DAbstractor.Config(num_queries=NUM_TOKENS, depth=2, num_heads=HEADS)
    return _both(honeybee_d_abstractor, abstractor)


def honeybee_resampler() -> Recipe:
    """The resampler that Honeybee compares with: its queries may look anywhere.

    Paper: arXiv 2312.06742, tables 2, 8 and 9: it tells less of where things are.
    Differs: as `honeybee_c_abstractor`.
    Expected: score 0.25 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `honeybee_c_abstractor`.
    Command: `isthmus train microworld.honeybee_resampler --output DIR`
    """
    return _both(honeybee_resampler, _RESAMPLER)


def honeybee_resampler_m64() -> Recipe:
    """The resampler that Honeybee compares with, with 64 visual tokens.

    Paper: arXiv 2312.06742, table 8: 256 tell more than 64, but 144 do not.
    Differs: as `honeybee_c_abstractor`.
    Expected: score 0.29 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `honeybee_c_abstractor`.
    Command: `isthmus train microworld.honeybee_resampler_m64 --output DIR`
    """
    return _both(honeybee_resampler_m64, replace(_RESAMPLER, num_queries=64))


def llava() -> Recipe:
    """LLaVA in small: a linear layer, a visual token for each patch, both stages.

    Paper: arXiv 2304.08485, section 4; the linear row of Honeybee, arXiv 2312.06742, table 8.
    Differs: as `honeybee_c_abstractor`.
    Expected: score 0.75 of what needs eyes, 0.21 without pictures; mean of 3 seeds.
    Hardware: as `honeybee_c_abstractor`.
    Command: `isthmus train microworld.llava --output DIR`
    """
    return _both(llava, Linear.Config(), alone=LINEAR_LR, beside=LINEAR_LR)


_BESIDE = connector(ALONE_LR), LANGUAGE
_C_ABSTRACTOR = CAbstractor.Config(num_queries=NUM_TOKENS, depth=1)
_RESAMPLER = HoneybeeResampler.Config(
    num_queries=NUM_TOKENS, depth=2, d_hidden=HEADS * D_HEAD, num_heads=HEADS
)


def _after_clips(function: Callable[[], Recipe], name: str, num: int, task: str) -> Recipe:
    model, start = joined(_C_ABSTRACTOR), Path("runs/honeybee_c_abstractor_clips")
    return named(function, alone(_BESIDE, name, num, task), model=model, start=start)


def _both(
    function: Callable[[], Recipe],
    between: ConnectorConfig,
    *,
    alone: float = ALONE_LR,
    beside: float = LAYERED_LR,
) -> Recipe:
    stages = (captions(alone), instructions(connector(beside), LANGUAGE))
    return named(function, *stages, model=joined(between))
