"""Data sets of questions with short answers."""

from pathlib import Path

from isthmus.data.facts import Answered, Item
from tests.data.sources.layouts import Json, Layout

TEN = ["yes"] * 6 + ["no"] * 4
VQA_IMAGE = "COCO_val2014_000000000042.jpg"


def _ten(*answers: str) -> list[dict[str, object]]:
    return [
        {"answer": each, "answer_confidence": "maybe", "answer_id": n + 1}
        for n, each in enumerate(answers)
    ]


VQA = Layout(
    source="vqa",
    files={
        "questions": Json(
            {
                "data_subtype": "val2014",
                "data_type": "mscoco",
                "task_type": "Open-Ended",
                "questions": [
                    {"image_id": 42, "question": "Is it day?", "question_id": 42000},
                    {"image_id": 42, "question": "Who is it?", "question_id": 42001},
                    {"image_id": 43, "question": "Is it day?", "question_id": 43000},
                    {"image_id": 42, "question": 5, "question_id": None},
                    "no question",
                    {"image_id": "x", "question": "Is it day?", "question_id": 42003},
                ],
            }
        ),
        "annotations": Json(
            {
                "data_subtype": "val2014",
                "annotations": [
                    {"question_id": 43000, "image_id": 43, "answers": _ten("yes")},
                    {"question_id": 42003, "multiple_choice_answer": "yes", "answers": []},
                    {
                        "question_id": 42000,
                        "image_id": 42,
                        "question_type": "is it",
                        "answer_type": "yes/no",
                        "multiple_choice_answer": "yes",
                        "answers": _ten(*TEN),
                    },
                ],
            }
        ),
    },
    images=(VQA_IMAGE,),
    rows=[
        Item(
            id="42000",
            images=(Path(VQA_IMAGE),),
            facts=(Answered(question="Is it day?", answer="yes", answers=tuple(TEN)),),
            task="vqa",
            meta={"question_type": "is it", "answer_type": "yes/no"},
        ),
        "no_partner",
        "image_missing",
        "wrong_layout",
        "wrong_layout",
        "wrong_layout",
    ],
)
LAVIS_VQA = Layout(
    source="lavis_vqa",
    files={
        "file": Json(
            [
                {
                    "question_id": 1,
                    "question": "Is it day?",
                    "answer": ["no", "yes", "yes", "no"],
                    "image": "val2014/1.png",
                    "dataset": "vqa",
                }
            ]
        )
    },
    images=("val2014/1.png",),
    rows=[
        Item(
            id="1",
            images=(Path("val2014/1.png"),),
            facts=(
                Answered(question="Is it day?", answer="no", answers=("no", "yes", "yes", "no")),
            ),
            task="vqa",
            meta={"dataset": "vqa"},
        )
    ],
)
GQA_ROW = {
    "imageId": "1",
    "question": "Is the cup red?",
    "answer": "yes",
    "fullAnswer": "Yes, the cup is red.",
    "isBalanced": True,
    "groups": {"global": None, "local": "06-cup_red"},
    "types": {"structural": "verify", "semantic": "attr", "detailed": "verifyAttr"},
    "semantic": [{"operation": "select", "argument": "cup (7)", "dependencies": []}],
    "entailed": [],
    "equivalent": [],
}
GQA = Layout(
    source="gqa",
    files={
        "file": Json(
            {
                "0123": GQA_ROW,
                "0124": {**GQA_ROW, "imageId": "2"},
                "0125": {**GQA_ROW, "answer": None},
                "0126": [],
                "0127": {**GQA_ROW, "imageId": "../1"},
            }
        )
    },
    images=("images/1.jpg",),
    rows=[
        Item(
            id="0123",
            images=(Path("images/1.jpg"),),
            facts=(Answered(question="Is the cup red?", answer="yes"),),
            task="vqa",
            meta={
                "fullAnswer": "Yes, the cup is red.",
                "types": GQA_ROW["types"],
                "isBalanced": True,
            },
        ),
        "image_missing",
        "no_answer",
        "wrong_layout",
        "image_missing",
    ],
)
TEXTVQA_ROW = {
    "question_id": 34602,
    "image_id": "003a8ae2ef43b901",
    "question": "what brand is it?",
    "answers": ["nokia", "nokia 33", "nokia"],
    "image_classes": ["Phone"],
    "flickr_300k_url": "https://a.org/1.jpg",
    "image_width": 1024,
    "image_height": 664,
    "set_name": "val",
}
TEXTVQA = Layout(
    source="textvqa",
    files={
        "file": Json(
            {
                "dataset_type": "val",
                "data": [TEXTVQA_ROW, {k: v for k, v in TEXTVQA_ROW.items() if k != "answers"}],
            }
        )
    },
    images=("003a8ae2ef43b901.jpg",),
    rows=[
        Item(
            id="34602",
            images=(Path("003a8ae2ef43b901.jpg"),),
            facts=(
                Answered(
                    question="what brand is it?",
                    answer="nokia",
                    answers=("nokia", "nokia 33", "nokia"),
                ),
            ),
            task="vqa",
            meta={"set_name": "val"},
        ),
        "no_answer",
    ],
)
VIZWIZ = Layout(
    source="vizwiz",
    files={
        "file": Json(
            [
                {
                    "image": "VizWiz_val_00000000.jpg",
                    "question": "Ok. There is another picture I hope it is a better one.",
                    "answers": [
                        {"answer": "unanswerable", "answer_confidence": "yes"},
                        {"answer": "a can", "answer_confidence": "maybe"},
                        {"answer": "unanswerable", "answer_confidence": "no"},
                    ],
                    "answer_type": "unanswerable",
                    "answerable": 0,
                },
                {"image": "VizWiz_val_00000000.jpg", "question": "What is this?"},
                {"image": "VizWiz_val_00000000.jpg", "question": "What?", "answers": ["a", "b"]},
            ]
        )
    },
    images=("VizWiz_val_00000000.jpg",),
    rows=[
        Item(
            id="VizWiz_val_00000000.jpg",
            images=(Path("VizWiz_val_00000000.jpg"),),
            facts=(
                Answered(
                    question="Ok. There is another picture I hope it is a better one.",
                    answer="unanswerable",
                    answers=("unanswerable", "a can", "unanswerable"),
                ),
            ),
            task="vqa",
            meta={"answer_type": "unanswerable", "answerable": 0},
        ),
        "no_answer",
        "wrong_layout",
    ],
)
OCR_ROW = {
    "imageURL": "http://a.org/images/I/51abc.jpg",
    "split": 1,
    "title": "Knots",
    "authorName": "A. B.",
    "genre": "Crafts",
    "questions": ["Who wrote this?", "What is it called?"],
    "answers": ["A. B.", "Knots"],
}
OCR_VQA = Layout(
    source="ocr_vqa",
    files={
        "file": Json(
            {
                "761183272": OCR_ROW,
                "1": {**OCR_ROW, "split": 3},
                "2": {**OCR_ROW, "answers": ["A. B."]},
                "3": {**OCR_ROW, "questions": [], "answers": []},
            }
        )
    },
    images=("761183272.jpg", "2.jpg", "3.jpg"),
    rows=[
        Item(
            id="761183272",
            images=(Path("761183272.jpg"),),
            facts=(
                Answered(question="Who wrote this?", answer="A. B."),
                Answered(question="What is it called?", answer="Knots"),
            ),
            task="vqa",
            meta={"title": "Knots", "authorName": "A. B.", "genre": "Crafts"},
        ),
        "filtered split",
        "wrong_layout",
        "wrong_layout",
    ],
)
TALLYQA = Layout(
    source="tallyqa",
    files={
        "file": Json(
            [
                {
                    "image": "VG_100K_2/1.jpg",
                    "image_id": 1,
                    "question_id": 30096226,
                    "question": "How many cups?",
                    "answer": 3,
                    "issimple": True,
                    "data_source": "imported_genome",
                }
            ]
        )
    },
    images=("VG_100K_2/1.jpg",),
    rows=[
        Item(
            id="30096226",
            images=(Path("VG_100K_2/1.jpg"),),
            facts=(Answered(question="How many cups?", answer="3"),),
            task="vqa",
            meta={"data_source": "imported_genome", "issimple": True},
        )
    ],
)
ALL = (VQA, LAVIS_VQA, GQA, TEXTVQA, VIZWIZ, OCR_VQA, TALLYQA)
