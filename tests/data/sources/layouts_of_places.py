"""Data sets of texts with boxes in them, and of questions that are answered by a box."""

from pathlib import Path
from typing import Any

from isthmus.data.facts import Chosen, Grounded, Item, Pointed
from tests.data.sources.layouts import Folder, Json, JsonLines, Layout, Plain

SENTENCES = """\
[/EN#283585/people A boy] kicks [/EN#283586/other/toys two balls] in [/EN#0/notvisual it] .
[/EN#283587/scene Outside] .
"""


def _named(name: str, *edges: int) -> str:
    tags = zip(("xmin", "ymin", "xmax", "ymax"), edges, strict=False)
    box = "".join(f"<{tag}>{edge}</{tag}>" for tag, edge in tags)
    held = f"<bndbox>{box}</bndbox>" if edges else "<scene>1</scene><nobndbox>1</nobndbox>"
    return f"<object><name>{name}</name>{held}</object>"


def _annotation(*objects: str) -> Plain:
    size = "<size><width>500</width><height>300</height><depth>3</depth></size>"
    return Plain(f"<annotation>{size}{''.join(objects)}</annotation>")


FLICKR = Layout(
    source="flickr30k_entities",
    files={
        "file": Folder(
            {
                "train.txt": Plain("1\n2\n4\n5\n6\n7\n"),
                "val.txt": Plain("3\n"),
                "test.txt": Plain(""),
                "Sentences": Folder(
                    {
                        **{f"{n}.txt": Plain(SENTENCES) for n in range(1, 7)},
                        "7.txt": Plain(" \n"),
                    }
                ),
                "Annotations": Folder(
                    {
                        "1.xml": _annotation(
                            _named("283585", 1, 2, 31, 42),
                            _named("283586", 5, 6, 15, 16),
                            _named("283586", 25, 6, 35, 16),
                            _named("283587"),
                        ),
                        "2.xml": _annotation(),
                        "4.xml": _annotation(_named("283585", 5, 6, 5, 16)),
                        "5.xml": Plain("<annotation>"),
                        "6.xml": Plain("<!DOCTYPE a><annotation></annotation>"),
                        "7.xml": _annotation(),
                    }
                ),
            }
        )
    },
    images=("1.jpg", "4.jpg", "7.jpg"),
    rows=[
        Item(
            id="1",
            images=(Path("1.jpg"),),
            facts=(
                Grounded(
                    text="A boy kicks two balls in it .",
                    places=(
                        (0, 5, ((0.0, 1.0, 30.0, 41.0),)),
                        (12, 21, ((4.0, 5.0, 14.0, 15.0), (24.0, 5.0, 34.0, 15.0))),
                    ),
                    size=(500, 300),
                ),
                Grounded(text="Outside .", places=(), size=(500, 300)),
            ),
            task="grounded",
        ),
        "image_missing",
        "filtered split",
        "wrong_box",
        "wrong_layout",
        "wrong_layout",
        "wrong_layout",
    ],
)


def seven(kind: str, *pairs: dict[str, Any]) -> dict[str, Any]:
    image = {"image_id": 7, "filename": "v7w_7.jpg", "split": "train", "qa_pairs": list(pairs)}
    return {
        "dataset": f"visual7w-{kind}",
        "images": [image, {**image, "split": "val", "qa_pairs": pairs[:1]}],
    }


TOLD = {
    "qa_id": 1,
    "image_id": 7,
    "type": "what",
    "question": "What is it?",
    "answer": "A cup.",
    "multiple_choices": ["A hat.", "A dog.", "A car."],
}
TELLING = Layout(
    source="visual7w",
    files={"file": Json(seven("telling", TOLD, {**TOLD, "qa_id": 2, "answer": None}))},
    images=("v7w_7.jpg",),
    rows=[
        Item(
            id="1",
            images=(Path("v7w_7.jpg"),),
            facts=(
                Chosen(
                    question="What is it?",
                    choices=("A hat.", "A dog.", "A car.", "A cup."),
                    index=3,
                ),
            ),
            task="choice",
            meta={"type": "what"},
        ),
        "wrong_layout",
        "filtered split",
    ],
)
POINTED = {
    "qa_id": 10,
    "image_id": 7,
    "type": "which",
    "question": "Which holds tea?",
    "answer": 101,
    "multiple_choices": [102, 103, 104],
}
BOXES = [
    {"box_id": 101 + n, "name": "cup", "x": 1 + n, "y": 2, "width": 30 if n < 4 else 0, "height": 4}
    for n in range(5)
]
POINTING = Layout(
    source="visual7w",
    files={
        "file": Json(
            {
                **seven(
                    "pointing",
                    POINTED,
                    {**POINTED, "multiple_choices": [102, 103, 109]},
                    {**POINTED, "multiple_choices": [102, 103, 105]},
                ),
                "boxes": BOXES,
            }
        )
    },
    images=("v7w_7.jpg",),
    rows=[
        Item(
            id="10",
            images=(Path("v7w_7.jpg"),),
            facts=(
                Pointed(
                    question="Which holds tea?",
                    boxes=(
                        (2.0, 2.0, 32.0, 6.0),
                        (1.0, 2.0, 31.0, 6.0),
                        (3.0, 2.0, 33.0, 6.0),
                        (4.0, 2.0, 34.0, 6.0),
                    ),
                    index=1,
                ),
            ),
            task="pointing",
            meta={"type": "which"},
        ),
        "no_partner",
        "wrong_box",
        "filtered split",
    ],
)
COT_ROW = {
    "img_id": "1",
    "img_path": "1.png",
    "width": 500,
    "height": 300,
    "question": "Does <ph_st>the man<ph_ed> rest?",
    "cot_with_ans": "<ph_st>The man<ph_ed> chases <ph_st>dogs<ph_ed>. The answer is no.",
    "answer": "no",
    "boxes": [[1.0, 2.0, 30.0, 40.0], [5, 6, 15, 16], [25, 6, 35, 16]],
    "question_boxes_seq": [[0]],
    "answer_boxes_seq": [[0], [1, 2]],
}
COT = Layout(
    source="grounded_cot",
    files={
        "file": JsonLines(
            [
                COT_ROW,
                {**COT_ROW, "answer_boxes_seq": [[0]]},
                {**COT_ROW, "answer_boxes_seq": [[0], [3]]},
                {**COT_ROW, "cot_with_ans": "<ph_ed>The man<ph_st> runs."},
                {**COT_ROW, "boxes": [[1, 2, 3, 2]] * 3},
            ]
        )
    },
    rows=[
        Item(
            id="row-1",
            images=(Path("1.png"),),
            facts=(
                Grounded(
                    question="Does the man rest?",
                    text="The man chases dogs. The answer is no.",
                    places=(
                        (0, 7, ((1.0, 2.0, 30.0, 40.0),)),
                        (15, 19, ((5.0, 6.0, 15.0, 16.0), (25.0, 6.0, 35.0, 16.0))),
                    ),
                    size=(500, 300),
                ),
            ),
            task="grounded",
            meta={"answer": "no"},
        ),
        "wrong_layout",
        "wrong_box",
        "wrong_layout",
        "wrong_box",
    ],
)
ALL = (FLICKR, TELLING, POINTING, COT)
