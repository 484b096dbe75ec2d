"""What the papers compare with: LLaVA, OpenFlamingo, Idefics, AnyMAL, and one linear layer alone.

Data are files of yours, or mixtures like those of docs/mixtures; each recipe names what its paper
had. What is known from memory alone is marked `unverified` among the facts of `isthmus show`.

Differs: captions of LLaVA are asked for, where the published code drops the question. What is
longer than the language model takes is left out, not cut.
"""

from dataclasses import replace
from pathlib import Path

from isthmus.connectors.linear import Linear
from isthmus.connectors.mlp import MLP
from isthmus.connectors.perceiver_resampler import PerceiverResampler
from isthmus.fusion.gated_cross_attention import GatedCrossAttention
from isthmus.recipes._llava import NUM_CAPTIONS, NUM_INSTRUCTIONS, captions, instructions
from isthmus.recipes._named import named
from isthmus.training.data import Data, FileData, MixtureData
from isthmus.training.models import ModelConfig
from isthmus.training.stage import Part, PartName, Recipe, Schedule, Stage

CLIP_224 = "openai/clip-vit-large-patch14"
_CAPTIONS = FileData(file=Path("captions.jsonl"), image_root=Path("images"))


def llava_7b() -> Recipe:
    """LLaVA 7B: a linear layer from CLIP to Vicuna; captions first, then instructions.

    Paper: arXiv 2304.08485, sections 4 and 5; settings of its code, scripts/pretrain.sh and
        finetune.sh, but for the second stage's three passes in batches of 32, which are the paper's
        (unverified).
    Expected: MMBench 38.7, MME 502.8 (perception), as table 6 of Honeybee has them.
    Hardware: 8 A100 of 80 GB.
    Command: `isthmus train baselines.llava_7b --output DIR`
    """
    return named(
        llava_7b,
        captions(
            FileData(
                file=Path("LLaVA-CC3M-Pretrain-595K/chat.json"),
                image_root=Path("images"),
                samples=595_375,
            ),
            lr=2e-3,
            batch_size=128,
        ),
        instructions(
            FileData(
                file=Path("llava_instruct_150k.json"),
                image_root=Path("coco/train2017"),
                samples=157_712,
            ),
            schedule=Schedule(epochs=3, batch_size=32),
        ),
        model=ModelConfig(
            vision=CLIP_224,
            image_resize="crop",
            language="lmsys/vicuna-7b-v1.3",
            chat_template="vicuna",
            connector=Linear.Config(),
        ),
    )


def llava_1_5_7b() -> Recipe:
    """LLaVA-1.5 7B: two layers with GELU from CLIP at 336 pixels to Vicuna.

    Paper: arXiv 2310.03744; settings of its code, scripts/v1_5.
    Differs: pictures are padded in both stages; the published first stage cuts out their middle.
        `prismatic.two_stage_7b` is the same with weight decay.
    Expected: VQAv2 76.54, GQA 61.58, VizWiz 54.24, TextVQA 46.13, RefCOCO 55.12, POPE 86.57, as
        Prismatic VLMs measured it; MMBench 64.3, MME 1510.7 (Honeybee, table 6).
    Hardware: 8 A100 of 80 GB, 13.1 hours (figure 1 of Prismatic VLMs, at second hand).
    Command: `isthmus train baselines.llava_1_5_7b --output DIR`
    """
    return named(llava_1_5_7b, *_LLAVA_1_5, model=_llava_1_5("lmsys/vicuna-7b-v1.5"))


def llava_1_5_13b() -> Recipe:
    """LLaVA-1.5 13B: two layers with GELU from CLIP at 336 pixels to Vicuna.

    Paper: arXiv 2310.03744; settings of its code, scripts/v1_5.
    Differs: as `llava_1_5_7b`.
    Expected: VQAv2 78.13, GQA 63.17, VizWiz 56.66, TextVQA 48.99, RefCOCO 66.75, POPE 87.10, as
        Prismatic VLMs measured it; MMBench 67.7, MME 1531.3 (Honeybee, table 6).
    Hardware: 8 A100 of 80 GB, 23.3 hours (figure 1 of Prismatic VLMs, at second hand).
    Command: `isthmus train baselines.llava_1_5_13b --output DIR`
    """
    return named(llava_1_5_13b, *_LLAVA_1_5, model=_llava_1_5("lmsys/vicuna-13b-v1.5"))


def openflamingo_4b() -> Recipe:
    """OpenFlamingo 4B: gated cross-attention before every second layer of RedPajama 3B.

    Paper: arXiv 2308.01390; Flamingo, arXiv 2204.14198, sections 3.1 and 3.2.
    Differs: the losses of pages and of captions weigh the same, where the paper multiplies that of
        captions by 0.2 (unverified); pages and captions are drawn into one batch. The embeddings of
        two added tokens learn there; here a vector marks an image. Weights of the resampler decay,
        too. The tower's patches are taken before its final norm. The published model also saw
        sequences that ChatGPT wrote. The size of a batch is ours.
    Expected: COCO CIDEr 81.8 and VQAv2 49.0 with 4 examples (README of its code).
    Hardware: not told for this size; the 9B model had 64 A100 of 80 GB.
    Command: `isthmus train baselines.openflamingo_4b --stages.0.data.mixture
        docs/mixtures/openflamingo.yaml --output DIR`
    """
    return named(
        openflamingo_4b,
        _gated("openflamingo", lr=1e-4, steps=117_188, batch_size=1536, warmup=5000, final=1.0),
        model=ModelConfig(
            vision=CLIP_224,
            vision_layer=-1,
            image_resize="crop",
            language="togethercomputer/RedPajama-INCITE-Base-3B-v1",
            chat_template="plain",
            connector=PerceiverResampler.Config(project=False),
            fusion=GatedCrossAttention.Config(d_visual=1024, layers=tuple(range(1, 32, 2))),
        ),
    )


def idefics_9b() -> Recipe:
    """Idefics 9B: gated cross-attention before every fourth layer of LLaMA 7B.

    Paper: arXiv 2306.16527, and the card of HuggingFaceM4/idefics-9b, from memory (unverified).
    Differs: gated blocks are OpenFlamingo's, with a layer norm and two layers with GELU of the same
        size, where Idefics has those of LLaMA. The class token of the tower is not read. The
        learning rate falls along a cosine, there along a line; nothing holds the logits small
        (z-loss). A batch counts samples, there tokens.
    Expected: COCO CIDEr 46.0 without examples (table 5 of PaLM2-VAdapter).
    Hardware: not known here.
    Command: `isthmus train baselines.idefics_9b --stages.0.data.mixture
        docs/mixtures/idefics.yaml --output DIR`
    """
    return named(
        idefics_9b,
        _gated("idefics", lr=1e-5, steps=200_000, batch_size=1280, warmup=2000, final=0.6),
        model=ModelConfig(
            vision="laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
            vision_layer=-1,
            language="huggyllama/llama-7b",
            chat_template="plain",
            connector=PerceiverResampler.Config(
                num_heads=16, d_head=96, activation="relu", qk_layer_norms=True, project=False
            ),
            fusion=GatedCrossAttention.Config(num_heads=32, d_head=128, d_visual=1280, every=4),
        ),
    )


def anymal_13b() -> Recipe:
    """AnyMAL 13B: a resampler learns from captions before a frozen Llama-2 Chat.

    Paper: arXiv 2309.16058, section 3.
    Differs: the paper's tower of about 2 billion weights is taken to be OpenCLIP's ViT-bigG
        (unverified); the resampler is OpenFlamingo's, and its second stage, instructions of its
        own, is left out. Length, batch and learning rate are ours: one pass over the paper's 200
        million captions.
    Expected: COCO CIDEr 99.5 without examples (table 5 of PaLM2-VAdapter).
    Hardware: not known here.
    Command: `isthmus train baselines.anymal_13b --data captions.jsonl --image-root images
        --output DIR`
    """
    return named(
        anymal_13b,
        _stage(_CAPTIONS, ("connector",), 1e-4, Schedule(steps=97_657, batch_size=2048)),
        model=ModelConfig(
            vision="laion/CLIP-ViT-bigG-14-laion2B-39B-b160k",
            language="meta-llama/Llama-2-13b-chat-hf",
            chat_template="llama2",
            connector=PerceiverResampler.Config(),
        ),
    )


def frozen_linear_7b() -> Recipe:
    """One linear layer learns from captions; CLIP and Llama-2 stay as they are.

    Paper: LiMBeR, arXiv 2209.15162, section 3 and appendix A: CC3M.
    Differs: CLIP's ViT-L/14 and Llama-2 7B, where the paper has CLIP's RN50x16 and GPT-J 6B.
    Expected: not measured with these towers.
    Hardware: 16 A100, 1.75 days with the paper's.
    Command: `isthmus train baselines.frozen_linear_7b --data captions.jsonl --image-root images
        --output DIR`
    """
    schedule = Schedule(steps=15_000, batch_size=2048, warmup_share=0.1, betas=(0.9, 0.95))
    return named(
        frozen_linear_7b,
        _stage(_CAPTIONS, ("connector",), 8e-4, schedule),
        model=ModelConfig(
            vision=CLIP_224,
            language="meta-llama/Llama-2-7b-hf",
            chat_template="plain",
            connector=Linear.Config(),
        ),
    )


_LLAVA_1_5 = (
    captions(
        FileData(
            file=Path("LLaVA-Pretrain/blip_laion_cc_sbu_558k.json"),
            image_root=Path("LLaVA-Pretrain/images"),
            samples=NUM_CAPTIONS,
        ),
        lr=1e-3,
        batch_size=256,
    ),
    instructions(
        FileData(
            file=Path("llava_v1_5_mix665k.json"), image_root=Path("data"), samples=NUM_INSTRUCTIONS
        ),
        schedule=Schedule(epochs=1, batch_size=128),
    ),
)


def _llava_1_5(language: str) -> ModelConfig:
    return ModelConfig(
        vision="openai/clip-vit-large-patch14-336",
        image_resize="letterbox",
        language=language,
        chat_template="vicuna",
        connector=MLP.Config(),
    )


def _gated(
    mixture: str, *, lr: float, steps: int, batch_size: int, warmup: int, final: float
) -> Stage:
    """Returns a stage in which a resampler and gated blocks learn from pages and captions."""
    schedule = Schedule(
        steps=steps,
        batch_size=batch_size,
        warmup_share=warmup / steps,
        final_lr_share=final,
        weight_decay=0.1,
    )
    data = MixtureData(mixture=Path(f"{mixture}.yaml"), lazy=True)
    return replace(_stage(data, ("connector", "fusion"), lr, schedule), name="pages")


def _stage(data: Data, parts: tuple[PartName, ...], lr: float, schedule: Schedule) -> Stage:
    return Stage(
        name="captions",
        train=tuple(Part(name=part, lr=lr) for part in parts),
        data=data,
        schedule=schedule,
        dtype="bfloat16",
        gradient_checkpointing=True,
    )
