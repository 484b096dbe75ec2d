"""BLIP-2 and what was built on it, on the towers of the papers. Name your data on the command line.

Data are pairs of an image and a caption (or questions about it), as files of yours; the papers' own
129 million pairs cannot be had any more. Batches are those of the papers, over all processes.

Differs: pictures are stretched to the tower's size; the published code learns from random crops of
half a picture or more, mirrored half of the time. Flan-T5 keeps its own activation, for which the
published code takes the exact GELU.
"""

from dataclasses import replace
from pathlib import Path

from isthmus.connectors._qformer_text import TextSide
from isthmus.connectors.qformer import QFormer
from isthmus.recipes import _blip2
from isthmus.training.data import FileData
from isthmus.training.models import AlignmentConfig, ModelConfig
from isthmus.training.stage import Part, Recipe, Schedule, Stage

VIT_G = "Salesforce/blip2-itm-vit-g"
"""Holds EVA-CLIP's ViT-g/14 without its last block, 39 of 40."""
BERT = "google-bert/bert-base-uncased"
QFORMER = QFormer.Config()
"""32 queries through a BERT-base whose every second layer reads the patches."""
_TEXT = TextSide()
_BETAS = (0.9, 0.98)
_CAPTIONS = FileData(file=Path("captions.jsonl"), image_root=Path("images"))
_LAST_BLOCK = 39


def vit_g_opt_2_7b() -> Recipe:
    """BLIP-2 with ViT-g and OPT-2.7B: both stages of its pre-training.

    Paper: BLIP-2, arXiv 2301.12597, section 3 and tables 2 and 3.
    Differs: the first stage's learning rate falls to 1e-5, as in the published settings; the paper
        names a least one for the second stage alone.
    Expected: zero-shot VQAv2 val 53.5, OK-VQA 31.7, GQA 34.6 (table 2, 129 million images).
    Hardware: 16 A100 of 40 GB, less than 6 days and then less than 3.
    Command: `isthmus train blip2.vit_g_opt_2_7b --data captions.jsonl --image-root images --output
        DIR`
    """
    return Recipe(
        name="blip2.vit_g_opt_2_7b",
        description="BLIP-2 with ViT-g and OPT-2.7B: both stages of its pre-training.",
        model=_joined("facebook/opt-2.7b", "blip2"),
        stages=(_alignment(), _generative(batch_size=1920)),
    )


def vit_g_flan_t5_xl() -> Recipe:
    """BLIP-2 with ViT-g and Flan-T5-XL: both stages of its pre-training.

    Paper: BLIP-2, arXiv 2301.12597, section 3 and tables 2 and 3.
    Differs: as `vit_g_opt_2_7b`.
    Expected: zero-shot VQAv2 val 63.1, OK-VQA 40.7, GQA 44.2 (table 2, 129 million images).
    Hardware: 16 A100 of 40 GB, less than 6 days and then less than 3.
    Command: `isthmus train blip2.vit_g_flan_t5_xl --data captions.jsonl --image-root images
        --output DIR`
    """
    return Recipe(
        name="blip2.vit_g_flan_t5_xl",
        description="BLIP-2 with ViT-g and Flan-T5-XL: both stages of its pre-training.",
        model=_joined("google/flan-t5-xl", "lines"),
        stages=(_alignment(), replace(_generative(batch_size=1520), split_answers=True)),
    )


def instructblip_vicuna_7b() -> Recipe:
    """InstructBLIP with Vicuna-7B: BLIP-2's first stage, then instructions that the queries read.

    Paper: InstructBLIP, arXiv 2305.06500, section 2.6 (60,000 steps of 128, 1e-5 after a warm-up of
        1,000 steps, AdamW with 0.9 and 0.999, weight decay 0.05; unverified, from memory).
    Differs: it starts from the first stage, where the paper also takes over the second's Q-Former.
    Expected: not measured; the paper's table 1 has the zero-shot scores.
    Hardware: 16 A100 of 40 GB, 1.5 days (unverified).
    Command: `isthmus train blip2.instructblip_vicuna_7b --data instructions.json --image-root
        images --output DIR`
    """
    model = replace(
        _joined("lmsys/vicuna-7b-v1.1", "blip2"),
        connector=replace(QFORMER, text=_TEXT),
        qformer_tokenizer=BERT,
    )
    tuned = Stage(
        name="instructions",
        train=(Part(name="connector", lr=1e-5),),
        hand_over=_blip2.WITH_TEXT,
        data=_CAPTIONS,
        schedule=Schedule(
            steps=60_000, batch_size=128, warmup_share=1 / 60, weight_decay=0.05, clip=None
        ),
        dtype="bfloat16",
    )
    return Recipe(
        name="blip2.instructblip_vicuna_7b",
        description="InstructBLIP with Vicuna-7B: BLIP-2's first stage, then instructions that the "
        "queries read.",
        model=model,
        stages=(_alignment(), tuned),
    )


def minigpt4_vicuna_7b() -> Recipe:
    """MiniGPT-4 with Vicuna-7B: after BLIP-2's first stage, the projection learns alone.

    Paper: MiniGPT-4, arXiv 2304.10592, section 3: 20,000 steps of 256 with captions, then 400 of 12
        with long descriptions; learning rates of its published settings.
    Differs: the linear map behind the queries learns on top of the first stage's Q-Former, where
        the paper takes over one that has been through BLIP-2's second stage, too. Turns are marked
        as Vicuna 1.1 was taught, where the paper's Vicuna 0 has `###Human:` and `###Assistant:`.
    Expected: not measured; the paper reports no benchmark.
    Hardware: 4 A100 of 80 GB, 10 hours, and 7 minutes on one for the second part.
    Command: `isthmus train blip2.minigpt4_vicuna_7b --data captions.jsonl --image-root images
        --output DIR`
    """
    aligned = Stage(
        name="captions",
        train=(Part(name="connector", lr=1e-4, only=("projection.*",)),),
        hand_over=_blip2.QUERIES_ALONE,
        data=_CAPTIONS,
        schedule=Schedule(
            steps=20_000,
            batch_size=256,
            warmup_share=0.25,
            final_lr_share=0.8,
            weight_decay=0.05,
            clip=None,
        ),
        dtype="bfloat16",
    )
    described = replace(
        aligned,
        name="descriptions",
        train=(Part(name="connector", lr=3e-5, only=("projection.*",)),),
        hand_over=None,
        schedule=replace(
            aligned.schedule, steps=400, batch_size=12, warmup_share=0.5, final_lr_share=1 / 3
        ),
    )
    return Recipe(
        name="blip2.minigpt4_vicuna_7b",
        description="MiniGPT-4 with Vicuna-7B: after BLIP-2's first stage, the projection learns "
        "alone.",
        model=_joined("lmsys/vicuna-7b-v1.1", "vicuna"),
        stages=(_alignment(), aligned, described),
    )


def vit_g_opt_2_7b_captions() -> Recipe:
    """BLIP-2 with OPT-2.7B, fine-tuned to write captions: tower and Q-Former learn.

    Paper: BLIP-2, arXiv 2301.12597, section 4.2 and table 7: five epochs of COCO, whose 566,747
        captions are 11,069 steps. Each row asks `a photo of`; captions are written with five beams.
    Expected: CIDEr 145.8 on COCO (Karpathy test), 119.7 on NoCaps val (table 3).
    Hardware: not told in the paper.
    Command: `isthmus train blip2.vit_g_opt_2_7b_captions --start DIR --data coco.jsonl
        --image-root images --output DIR`
    """
    return _tuned(
        "blip2.vit_g_opt_2_7b_captions",
        "BLIP-2 with OPT-2.7B, fine-tuned to write captions: tower and Q-Former learn.",
        Stage(
            name="captions",
            train=(Part(name="vision_tower", lr=1e-5), Part(name="connector", lr=1e-5)),
            data=replace(_CAPTIONS, samples=566_747),
            schedule=_five_epochs(batch_size=256, steps=11_069),
            dtype="bfloat16",
        ),
        image_size=364,
    )


def vit_g_opt_2_7b_vqa() -> Recipe:
    """BLIP-2 with OPT-2.7B, fine-tuned to answer: lower layers of the tower learn more slowly.

    Paper: BLIP-2, arXiv 2301.12597, section 4.3 and table 8: five epochs of VQAv2 (train and val)
        and Visual Genome. Each row asks `Question: ... Answer:`.
    Differs: questions do not enter the Q-Former, whose text side the second stage left behind. The
        warm-up of 1,000 steps is a share of VQAv2's 658,111 questions alone.
    Expected: VQAv2 test-dev 81.59, test-std 81.74 (table 4).
    Hardware: not told in the paper.
    Command: `isthmus train blip2.vit_g_opt_2_7b_vqa --start DIR --data vqa.jsonl
        --image-root images --output DIR`
    """
    return _tuned(
        "blip2.vit_g_opt_2_7b_vqa",
        "BLIP-2 with OPT-2.7B, fine-tuned to answer: lower layers of the tower learn more slowly.",
        Stage(
            name="vqa",
            train=(
                Part(name="vision_tower", lr=1e-5, layer_decay=0.95),
                Part(name="connector", lr=1e-5),
            ),
            data=_CAPTIONS,
            schedule=_five_epochs(batch_size=128, steps=25_708),
            dtype="bfloat16",
        ),
        image_size=490,
    )


def _tuned(name: str, description: str, stage: Stage, *, image_size: int) -> Recipe:
    return Recipe(
        name=name,
        description=description,
        model=replace(_joined("facebook/opt-2.7b", "blip2"), image_size=image_size),
        stages=(stage,),
        start=Path("runs/blip2"),
    )


def _five_epochs(*, batch_size: int, steps: int) -> Schedule:
    return Schedule(
        epochs=5,
        batch_size=batch_size,
        warmup_share=1000 / steps,
        weight_decay=0.05,
        clip=None,
    )


def _alignment() -> Stage:
    return Stage(
        name="alignment",
        model=AlignmentConfig(
            vision=VIT_G,
            text=BERT,
            qformer=replace(QFORMER, text=_TEXT),
            vision_layer=_LAST_BLOCK,
            vision_prefix=True,
        ),
        train=(Part(name="connector", lr=1e-4), Part(name="heads", lr=1e-4)),
        objectives=(_blip2.first_stage(single_process=False),),
        data=_CAPTIONS,
        schedule=Schedule(
            steps=250_000,
            batch_size=1680,
            warmup_share=0.008,
            final_lr_share=0.1,
            weight_decay=0.05,
            betas=_BETAS,
            clip=None,
        ),
        dtype="bfloat16",
    )


def _generative(*, batch_size: int) -> Stage:
    return Stage(
        name="generative",
        train=(Part(name="connector", lr=1e-4),),
        hand_over=_blip2.QUERIES_ALONE,
        data=_CAPTIONS,
        schedule=Schedule(
            steps=80_000,
            batch_size=batch_size,
            warmup_share=0.025,
            final_lr_share=0.5,
            weight_decay=0.05,
            betas=_BETAS,
            clip=None,
        ),
        dtype="bfloat16",
    )


def _joined(language: str, chat_template: str) -> ModelConfig:
    return ModelConfig(
        vision=VIT_G,
        language=language,
        connector=QFORMER,
        vision_layer=_LAST_BLOCK,
        vision_prefix=True,
        chat_template=chat_template,
    )
