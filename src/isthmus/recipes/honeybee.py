"""Honeybee: projectors that keep the place of what they tell, and a recipe for instruction data.

Cha et al., arXiv 2312.06742 (CVPR 2024). Two stages over a frozen CLIP: the projector learns from
captions, then the language model with it from thirteen data sets by tuned shares. Name the mixtures
with `--stages.0.data.mixture` and `--stages.1.data.mixture`; docs/mixtures has both to begin with.

Differs: the learning rate rises from 0, where the published code begins at its least one. Captions
are asked in the same form as questions; the published code shows the image and the caption alone.
Sequences are as long as they are, not filled up to 1,024 tokens.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from isthmus.connectors.base import ConnectorConfig
from isthmus.connectors.c_abstractor import CAbstractor
from isthmus.connectors.d_abstractor import DAbstractor
from isthmus.connectors.honeybee_resampler import HoneybeeResampler
from isthmus.connectors.linear import Linear
from isthmus.connectors.mlp import MLP
from isthmus.recipes._named import named
from isthmus.training.data import MixtureData
from isthmus.training.models import ModelConfig
from isthmus.training.stage import Part, Recipe, Schedule, Stage

CLIP_224 = "openai/clip-vit-large-patch14"
CLIP_336 = "openai/clip-vit-large-patch14-336"
VICUNA_7B = "lmsys/vicuna-7b-v1.5"
VICUNA_13B = "lmsys/vicuna-13b-v1.5"
_BETAS, _EPS = (0.9, 0.98), 1e-6


def c_abstractor_7b_m144() -> Recipe:
    """Honeybee-C-7B with 144 visual tokens, as in its main table.

    Paper: arXiv 2312.06742, tables 6, 7 and 11.
    Expected: MMBench 70.1, MME 1584.2 (perception), SEED image 64.5, LLaVA-Bench 67.1 (table 6).
    Hardware: 8 A100 of 80 GB, the first stage on several nodes (appendix C); 2.23 s a step of it.
    Command: `isthmus train honeybee.c_abstractor_7b_m144 --output DIR`
    """
    return _recipe(c_abstractor_7b_m144, _c(144))


def c_abstractor_7b_m256() -> Recipe:
    """Honeybee-C-7B with 256 visual tokens.

    Paper: arXiv 2312.06742, tables 7 and 11.
    Expected: MMBench 71.0, MME 1592.7 (perception), SEED image 65.5, LLaVA-Bench 70.6 (table 7).
    Hardware: as `c_abstractor_7b_m144`; 3.07 s a step.
    Command: `isthmus train honeybee.c_abstractor_7b_m256 --output DIR`
    """
    return _recipe(c_abstractor_7b_m256, _c(256))


def c_abstractor_13b_m256() -> Recipe:
    """Honeybee-C-13B at 336 pixels with 256 visual tokens.

    Paper: arXiv 2312.06742, tables 6, 7 and 11.
    Expected: MMBench 73.2, MME 1629.3 (perception), SEED image 68.2, LLaVA-Bench 75.7 (table 6).
    Hardware: as `c_abstractor_7b_m144`; 5.52 s a step.
    Command: `isthmus train honeybee.c_abstractor_13b_m256 --output DIR`
    """
    return _recipe(c_abstractor_13b_m256, _c(256), large=True)


def c_abstractor_13b_m576() -> Recipe:
    """Honeybee-C-13B at 336 pixels with a visual token for each patch.

    Paper: arXiv 2312.06742, tables 7 and 11.
    Expected: MMBench 73.6, MME 1661.1 (perception), SEED image 68.6, LLaVA-Bench 77.5 (table 7).
    Hardware: as `c_abstractor_7b_m144`; 9.80 s a step.
    Command: `isthmus train honeybee.c_abstractor_13b_m576 --output DIR`
    """
    return _recipe(c_abstractor_13b_m576, _c(576), large=True)


def d_abstractor_7b_m144() -> Recipe:
    """Honeybee-D-7B with 144 visual tokens.

    Paper: arXiv 2312.06742, tables 6 and 11; the first stage's learning rate is 1e-4 here.
    Expected: MMBench 70.8, MME 1544.1 (perception), SEED image 63.8, LLaVA-Bench 66.3 (table 6).
    Hardware: as `c_abstractor_7b_m144`.
    Command: `isthmus train honeybee.d_abstractor_7b_m144 --output DIR`
    """
    return _recipe(d_abstractor_7b_m144, _d(144), lr=1e-4)


def d_abstractor_13b_m256() -> Recipe:
    """Honeybee-D-13B at 336 pixels with 256 visual tokens.

    Paper: arXiv 2312.06742, tables 6 and 11; the first stage's learning rate is 1e-4 here.
    Expected: MMBench 73.5, MME 1632.0 (perception), SEED image 66.6, LLaVA-Bench 72.9 (table 6).
    Hardware: as `c_abstractor_7b_m144`.
    Command: `isthmus train honeybee.d_abstractor_13b_m256 --output DIR`
    """
    return _recipe(d_abstractor_13b_m256, _d(256), large=True, lr=1e-4)


def short_c_abstractor_7b_m64() -> Recipe:
    """The short schedule of the paper's comparisons: C-Abstractor with 64 visual tokens.

    Paper: arXiv 2312.06742, table 8.
    Expected: MMBench 69.2, SEED image 62.9, MME 1528.1, mean 69.5.
    Hardware: 8 A100 of 80 GB; 1.65 s a step of the first stage.
    Command: `isthmus train honeybee.short_c_abstractor_7b_m64 --output DIR`
    """
    return _short(short_c_abstractor_7b_m64, _c(64))


def short_c_abstractor_7b_m144() -> Recipe:
    """The short schedule of the paper's comparisons: C-Abstractor with 144 visual tokens.

    Paper: arXiv 2312.06742, tables 8 to 10, of which it is the reference.
    Expected: MMBench 69.2, SEED image 64.2, MME 1568.2, mean 70.6.
    Hardware: 8 A100 of 80 GB; 2.23 s a step of the first stage.
    Command: `isthmus train honeybee.short_c_abstractor_7b_m144 --output DIR`
    """
    return _short(short_c_abstractor_7b_m144, _c(144))


def short_c_abstractor_7b_m256() -> Recipe:
    """The short schedule of the paper's comparisons: C-Abstractor with 256 visual tokens.

    Paper: arXiv 2312.06742, table 8.
    Expected: MMBench 70.2, SEED image 65.3, MME 1586.8, mean 71.6.
    Hardware: 8 A100 of 80 GB; 3.07 s a step of the first stage.
    Command: `isthmus train honeybee.short_c_abstractor_7b_m256 --output DIR`
    """
    return _short(short_c_abstractor_7b_m256, _c(256))


def short_c_abstractor_7b_m400() -> Recipe:
    """The short schedule of the paper's comparisons: C-Abstractor with 400 visual tokens.

    Paper: arXiv 2312.06742, table 8: more tokens than patches.
    Expected: MMBench 70.8, SEED image 65.5, MME 1615.0, mean 72.3.
    Hardware: 8 A100 of 80 GB; 4.15 s a step of the first stage.
    Command: `isthmus train honeybee.short_c_abstractor_7b_m400 --output DIR`
    """
    return _short(short_c_abstractor_7b_m400, _c(400))


def short_d_abstractor_7b_m144() -> Recipe:
    """The short schedule of the paper's comparisons: D-Abstractor with 144 visual tokens.

    Paper: arXiv 2312.06742, table 9; learning rate of the first stage 1e-4.
    Expected: MMBench 68.6, SEED image 63.2, MME 1548.3, mean 69.7.
    Hardware: 8 A100 of 80 GB.
    Command: `isthmus train honeybee.short_d_abstractor_7b_m144 --output DIR`
    """
    return _short(short_d_abstractor_7b_m144, _d(144), lr=1e-4)


def short_linear_7b() -> Recipe:
    """The short schedule of the paper's comparisons: one linear layer, a token for each patch.

    Paper: arXiv 2312.06742, tables 8 and 9.
    Expected: MMBench 67.1, SEED image 65.1, MME 1556.5, mean 70.0.
    Hardware: 8 A100 of 80 GB; 3.04 s a step of the first stage.
    Command: `isthmus train honeybee.short_linear_7b --output DIR`
    """
    return _short(short_linear_7b, Linear.Config())


def short_mlp_7b() -> Recipe:
    """The short schedule of the paper's comparisons: two layers with SiLU, a token for each patch.

    Paper: arXiv 2312.06742, table 9.
    Expected: MMBench 68.3, SEED image 64.5, MME 1557.2, mean 70.2.
    Hardware: 8 A100 of 80 GB.
    Command: `isthmus train honeybee.short_mlp_7b --output DIR`
    """
    return _short(short_mlp_7b, MLP.Config(depth=2, activation="silu"))


def short_resampler_7b_m64() -> Recipe:
    """The short schedule of the paper's comparisons: resampler with 64 visual tokens.

    Paper: arXiv 2312.06742, table 8.
    Expected: MMBench 65.9, SEED image 58.9, MME 1394.7, mean 64.8.
    Hardware: 8 A100 of 80 GB; 1.69 s a step of the first stage.
    Command: `isthmus train honeybee.short_resampler_7b_m64 --output DIR`
    """
    return _short(short_resampler_7b_m64, _resampler(64))


def short_resampler_7b_m144() -> Recipe:
    """The short schedule of the paper's comparisons: resampler with 144 visual tokens.

    Paper: arXiv 2312.06742, tables 8 and 9.
    Expected: MMBench 66.0, SEED image 57.0, MME 1389.6, mean 64.2.
    Hardware: 8 A100 of 80 GB; 2.28 s a step of the first stage.
    Command: `isthmus train honeybee.short_resampler_7b_m144 --output DIR`
    """
    return _short(short_resampler_7b_m144, _resampler(144))


def short_resampler_7b_m256() -> Recipe:
    """The short schedule of the paper's comparisons: resampler with 256 visual tokens.

    Paper: arXiv 2312.06742, table 8.
    Expected: MMBench 67.1, SEED image 59.9, MME 1489.6, mean 67.2.
    Hardware: 8 A100 of 80 GB; 3.12 s a step of the first stage.
    Command: `isthmus train honeybee.short_resampler_7b_m256 --output DIR`
    """
    return _short(short_resampler_7b_m256, _resampler(256))


def short_resampler_7b_m400() -> Recipe:
    """The short schedule of the paper's comparisons: resampler with 400 visual tokens.

    Paper: arXiv 2312.06742, table 8.
    Expected: MMBench 67.7, SEED image 61.5, MME 1502.5, mean 68.1.
    Hardware: 8 A100 of 80 GB; 4.27 s a step of the first stage.
    Command: `isthmus train honeybee.short_resampler_7b_m400 --output DIR`
    """
    return _short(short_resampler_7b_m400, _resampler(400))


def _c(num_queries: int) -> ConnectorConfig:
    return CAbstractor.Config(num_queries=num_queries)


def _d(num_queries: int) -> ConnectorConfig:
    return DAbstractor.Config(num_queries=num_queries)


def _resampler(num_queries: int) -> ConnectorConfig:
    return HoneybeeResampler.Config(num_queries=num_queries)


def _short(
    function: Callable[[], Recipe], connector: ConnectorConfig, *, lr: float = 3e-4
) -> Recipe:
    """Returns a recipe with the steps of the paper's comparisons."""
    whole = _recipe(function, connector, lr=lr)
    stages = tuple(
        replace(stage, schedule=_over(stage.schedule, steps))
        for stage, steps in zip(whole.stages, (50_000, 4_000), strict=True)
    )
    return replace(whole, stages=stages)


def _over(schedule: Schedule, steps: int) -> Schedule:
    """Returns a schedule of other length, whose warm-up takes as many steps."""
    assert schedule.steps is not None
    return replace(
        schedule, steps=steps, warmup_share=schedule.warmup_share * schedule.steps / steps
    )


def _recipe(
    function: Callable[[], Recipe],
    connector: ConnectorConfig,
    *,
    large: bool = False,
    lr: float = 3e-4,
) -> Recipe:
    """Returns both stages in the lengths of the paper's final models."""
    pretrained = Stage(
        name="captions",
        train=(Part(name="connector", lr=lr),),
        data=MixtureData(mixture=Path("honeybee_captions.yaml"), lazy=True),
        schedule=Schedule(
            steps=200_000,
            batch_size=256,
            warmup_share=2000 / 200_000,
            final_lr_share=1e-5 / lr,
            weight_decay=0.01,
            betas=_BETAS,
            eps=_EPS,
        ),
        dtype="bfloat16",
        gradient_checkpointing=True,
    )
    tuned = replace(
        pretrained,
        name="instructions",
        train=(Part(name="connector", lr=2e-5), Part(name="language_model", lr=2e-5)),
        data=MixtureData(mixture=Path("honeybee_instructions.yaml")),
        schedule=Schedule(
            steps=10_000,
            batch_size=128,
            warmup_share=150 / 10_000,
            final_lr_share=1e-6 / 2e-5,
            weight_decay=1e-4,
            betas=_BETAS,
            eps=_EPS,
        ),
    )
    return named(
        function,
        pretrained,
        tuned,
        model=ModelConfig(
            vision=CLIP_336 if large else CLIP_224,
            language=VICUNA_13B if large else VICUNA_7B,
            connector=connector,
            vision_layer=-2,
            chat_template="human_ai",
        ),
    )
