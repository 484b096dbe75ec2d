"""Ten data sets of the microworld, each in the form that a public one has.

What they hold stands in for what Honeybee learns from (arXiv 2312.06742, table 2), and each has the
name of the one it stands for. They share their pictures, as those of COCO do, and differ in size as
the public ones do.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, final

from benchmarks import data_formats
from isthmus.data.facts import Answered, Captioned, Chosen, Fact, Judged, Located
from isthmus.data.mixture.file import MixtureEntry
from isthmus.microworld.export import export
from isthmus.microworld.render import render
from isthmus.microworld.scene import CANVAS, COLOURS, SHAPES, Scene, scenes
from isthmus.microworld.tasks import VQA, distinct, questions
from isthmus.microworld.tasks.attributes import colour, shape
from isthmus.microworld.tasks.caption import caption_text
from isthmus.microworld.tasks.counting import count
from isthmus.microworld.words import noun_phrase, refer

Told = tuple[str, Fact]
"""The microworld's name of a task, and a fact that is asked for in it."""
Tell = Callable[[Scene, Random], Sequence[Told]]
"""Returns what a data set knows of a scene."""

SIZE = (CANVAS, CANVAS)
_APART = 8
"""Pixels between two centres of which one is said to be left of the other."""
CHAT_TASKS = (*VQA, "reading", "board", "caption")
"""What conversations are about; only they ask for signs and squares."""
TEXT_TASKS = ("arithmetic", "copying", "sorting", "scene_qa")
TURNS = 4
"""Of a conversation."""


@final
@dataclass(frozen=True, kw_only=True)
class Facts:
    """A data set of facts."""

    name: str
    task: str
    """Group that the paper puts it in."""
    num: int
    """Pictures."""
    tell: Tell
    write: data_formats.Write
    entry: Mapping[str, Any]
    """What a mixture has to know to read it, beside the task."""


@final
@dataclass(frozen=True, kw_only=True)
class Conversations:
    """A data set of conversations."""

    name: str
    task: str
    """Group that the paper puts it in."""
    num: int
    about: tuple[str, ...]
    """Tasks of the microworld that its turns are of."""


def write_all(directory: Path) -> None:
    """Writes all data sets and their pictures; what is there already stays.

    Args:
        directory: gets `images` and a folder for each data set.
    """
    images = directory / "images"
    images.mkdir(parents=True, exist_ok=True)
    for data in DATA_SETS:
        folder = directory / data.name
        if folder.exists():
            continue
        rows: list[tuple[int, Sequence[Fact]]] = []
        for number, (scene, _) in enumerate(scenes("train", data.num)):
            told = data.tell(scene, Random(f"{data.name}/{number}"))
            if told:
                picture = images / f"{number}.png"
                if not picture.exists():
                    render(scene).save(picture, compress_level=1)
                rows.append((number, [fact for _, fact in told]))
        partial = directory / f"{data.name}.partial"
        partial.mkdir(exist_ok=True)
        data.write(rows, partial)
        partial.rename(folder)
    for talk in CONVERSATIONS:
        folder = directory / talk.name
        if not (folder / "messages.jsonl").exists():
            export(folder, split="train", num=talk.num, tasks=talk.about, turns=TURNS)


def entries(directory: Path) -> list[MixtureEntry]:
    """Returns the data sets as a mixture names them.

    Args:
        directory: in which they were written.
    """
    found = []
    for data in DATA_SETS:
        files = {key: directory / data.name / path for key, path in data.entry["files"].items()}
        found.append(
            MixtureEntry.from_dict(
                {
                    "name": data.name,
                    "task": data.task,
                    "image_root": directory / "images",
                    **data.entry,
                    "files": files,
                }
            )
        )
    for talk in CONVERSATIONS:
        file = directory / talk.name / "llava.json"
        is_text = talk.task == "text"
        found.append(MixtureEntry(name=talk.name, task=talk.task, file=file, text_only=is_text))
    return found


def _answered(tasks: Sequence[str], num: int) -> Tell:
    def tell(scene: Scene, rng: Random) -> Sequence[Told]:
        drawn = distinct(questions(scene, rng, tasks, 20 * num), num)
        return [
            (task, Answered(question=question.text, answer=question.answer))
            for task, question in drawn
        ]

    return tell


def _judged(scene: Scene, rng: Random) -> Sequence[Told]:
    if len(scene.things) < 2:
        return []
    first, second = rng.sample(scene.things, 2)
    apart = first.centre[0] - second.centre[0]
    a, b = refer(scene, first, rng), refer(scene, second, rng)
    if a is None or b is None or abs(apart) < _APART:
        return []
    side = rng.choice(("left", "right"))
    statement = f"The {a} is {side} of the {b}."
    return [("relation", Judged(statement=statement, is_true=(side == "left") == (apart < 0)))]


def _chosen(scene: Scene, rng: Random) -> Sequence[Told]:
    ask, values = rng.choice(((colour, COLOURS), (shape, SHAPES)))
    question = ask(scene, rng)
    if question is None:
        return []
    return [("multiple_choice", _choice(question.text, question.answer, values, rng))]


def _counted(scene: Scene, rng: Random) -> Sequence[Told]:
    question = count(scene, rng)
    assert question is not None
    return [("multiple_choice", _choice(question.text, question.answer, "012345", rng))]


def _choice(question: str, answer: str, values: Sequence[str], rng: Random) -> Chosen:
    choices = [answer, *rng.sample([value for value in values if value != answer], 3)]
    rng.shuffle(choices)
    return Chosen(question=question, choices=tuple(choices), index=choices.index(answer))


def _referred(scene: Scene, rng: Random) -> Sequence[Told]:
    thing = rng.choice(scene.things)
    phrase = refer(scene, thing, rng)
    if phrase is None:
        return []
    place = _box(thing.box)
    return [("referring", Located(phrase=f"the {phrase}", box=place, size=SIZE))]


def _regions(scene: Scene, rng: Random) -> Sequence[Told]:
    # The larger set says more of each thing than is needed to find it.
    return [
        ("referring", Located(phrase=noun_phrase(thing), box=_box(thing.box), size=SIZE))
        for thing in scene.things
    ]


def _captioned(scene: Scene, rng: Random) -> Sequence[Told]:
    return [("caption", Captioned(text=caption_text(scene)))]


def _box(box: tuple[int, int, int, int]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = map(float, box)
    return x0, y0, x1, y1


DATA_SETS = (
    Facts(
        name="vqav2",
        task="open",
        num=1500,
        tell=_answered(("colour", "shape", "count"), 6),
        write=data_formats.vqa,
        entry={
            "source": "vqa",
            "files": {"questions": "questions.json", "annotations": "annotations.json"},
            "options": {"image": "{image_id}.png"},
            "template": "honeybee.vqa",
        },
    ),
    Facts(
        name="gqa",
        task="open",
        num=1500,
        tell=_answered(("position", "comparison", "existence", "relation"), 8),
        write=data_formats.gqa,
        entry={
            "source": "gqa",
            "files": {"file": "questions.json"},
            "options": {"image": "{imageId}.png"},
            "template": "honeybee.vqa",
        },
    ),
    Facts(
        name="vsr",
        task="open",
        num=400,
        tell=_judged,
        write=data_formats.vsr,
        entry={"source": "vsr", "files": {"file": "train.jsonl"}, "template": "honeybee.vsr"},
    ),
    Facts(
        name="scienceqa",
        task="choice",
        num=500,
        tell=_counted,
        write=data_formats.science_qa,
        entry={
            "source": "scienceqa",
            "files": {"problems": "problems.json", "splits": "pid_splits.json"},
            "options": {"image": "{image}"},
            "template": "honeybee.scienceqa",
        },
    ),
    Facts(
        name="aokvqa",
        task="choice",
        num=1000,
        tell=_chosen,
        write=data_formats.aokvqa,
        entry={
            "source": "aokvqa",
            "files": {"file": "train.json"},
            "options": {"image": "{image_id}.png"},
            "template": "honeybee.aokvqa",
        },
    ),
    Facts(
        name="refcoco",
        task="regions",
        num=2500,
        tell=_referred,
        write=data_formats.refcoco,
        entry={
            "source": "refcoco_xywh",
            "files": {"file": "train.jsonl"},
            "template": "honeybee.region",
        },
    ),
    Facts(
        name="vg",
        task="regions",
        num=2500,
        tell=_regions,
        write=data_formats.visual_genome,
        entry={
            "source": "visual_genome_regions",
            "files": {"regions": "region_descriptions.json", "image_data": "image_data.json"},
            "options": {"image": "{image_id}.png"},
            "template": "honeybee.region",
        },
    ),
    Facts(
        name="coyo100m",
        task="captions",
        num=5000,
        tell=_captioned,
        write=data_formats.karpathy,
        entry={
            "source": "karpathy",
            "files": {"file": "dataset.json"},
            "template": "honeybee.caption",
        },
    ),
)
CONVERSATIONS = (
    Conversations(name="llava150k", task="instructions", num=1500, about=CHAT_TASKS),
    Conversations(name="sharegpt", task="text", num=1000, about=TEXT_TASKS),
)
