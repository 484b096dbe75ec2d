"""Data sets of questions with choices, and of statements."""

from pathlib import Path

from isthmus.data.facts import Answered, Chosen, Item, Judged
from tests.data.sources.layouts import Folder, Json, JsonLines, Layout, Plain

AOKVQA_ROW = {
    "split": "val",
    "image_id": 461751,
    "question_id": "22MexNkBPpdZGX6sxbxVBH",
    "question": "What is it for?",
    "choices": ["tea", "rain", "snow", "mail"],
    "correct_choice_idx": 1,
    "direct_answers": ["rain", "rain", "sun"],
    "difficult_direct_answer": False,
    "rationales": ["It is an umbrella.", "It is wet."],
}
AOKVQA_IMAGE = "val2017/000000461751.jpg"
AOKVQA = Layout(
    source="aokvqa",
    files={
        "file": Json(
            [
                AOKVQA_ROW,
                {key: AOKVQA_ROW[key] for key in ("split", "image_id", "question", "question_id")},
                {**AOKVQA_ROW, "correct_choice_idx": 4},
                {**AOKVQA_ROW, "image_id": 5},
            ]
        )
    },
    images=(AOKVQA_IMAGE,),
    rows=[
        Item(
            id="22MexNkBPpdZGX6sxbxVBH",
            images=(Path(AOKVQA_IMAGE),),
            facts=(
                Chosen(
                    question="What is it for?",
                    choices=("tea", "rain", "snow", "mail"),
                    index=1,
                    reasons=("It is an umbrella.", "It is wet."),
                ),
            ),
            task="choice",
            meta={"direct_answers": ["rain", "rain", "sun"], "difficult_direct_answer": False},
        ),
        "wrong_layout",
        "no_answer",
        "image_missing",
    ],
)
AOKVQA_OPEN = Layout(
    source="aokvqa_open",
    files={"file": Json([AOKVQA_ROW])},
    images=(AOKVQA_IMAGE,),
    rows=[
        Item(
            id="22MexNkBPpdZGX6sxbxVBH",
            images=(Path(AOKVQA_IMAGE),),
            facts=(
                Answered(
                    question="What is it for?", answer="rain", answers=("rain", "rain", "sun")
                ),
            ),
            task="vqa",
            meta={"difficult_direct_answer": False},
        )
    ],
)
VSR_ROW = {
    "image": "000000239417.jpg",
    "image_link": "../train2017/000000239417.jpg",
    "caption": "The bench is left of the train.",
    "label": 0,
    "relation": "left of",
    "subj": "bench",
    "obj": "train",
    "annotator_id": 1,
    "vote_true_validator_id": "[]",
    "vote_false_validator_id": "[2, 10]",
    "reference_frame": None,
}
VSR = Layout(
    source="vsr",
    files={
        "file": JsonLines(
            [VSR_ROW, {**VSR_ROW, "label": 1}, {**VSR_ROW, "label": 2}, {**VSR_ROW, "caption": " "}]
        )
    },
    images=("000000239417.jpg",),
    rows=[
        Item(
            id=f"row-{number}",
            images=(Path("000000239417.jpg"),),
            facts=(Judged(statement="The bench is left of the train.", is_true=is_true),),
            task="judgement",
            meta={"relation": "left of", "subj": "bench", "obj": "train"},
        )
        for number, is_true in ((1, False), (2, True))
    ]
    + ["wrong_layout", "empty_answer"],
)
PROBLEM = {
    "question": "Which is a solid?",
    "choices": ["water", "ice"],
    "answer": 1,
    "hint": "Look at the picture.",
    "image": "image.png",
    "task": "closed choice",
    "grade": "grade2",
    "subject": "natural science",
    "topic": "physics",
    "category": "Matter",
    "skill": "Tell solids",
    "lecture": "A solid keeps its shape.",
    "solution": "Ice keeps its shape.",
    "split": "train",
}
SCIENCEQA = Layout(
    source="scienceqa",
    files={
        "problems": Json(
            {
                "1": PROBLEM,
                "4": {**PROBLEM, "image": None, "hint": "", "solution": "", "lecture": ""},
                "5": {**PROBLEM, "split": "test"},
                "6": {**PROBLEM, "answer": 2},
            }
        ),
        "splits": Json(
            {
                "train": ["1", "4", "6", "9"],
                "val": [],
                "test": ["5"],
                "minival": [],
                "minitest": ["5"],
            }
        ),
    },
    images=("images/train/1/image.png", "images/train/6/image.png"),
    rows=[
        Item(
            id="1",
            images=(Path("images/train/1/image.png"),),
            facts=(
                Chosen(
                    question="Which is a solid?",
                    choices=("water", "ice"),
                    index=1,
                    context="Look at the picture.",
                    reasons=("Ice keeps its shape.",),
                ),
            ),
            task="choice",
            meta={
                "subject": "natural science",
                "topic": "physics",
                "grade": "grade2",
                "lecture": "A solid keeps its shape.",
            },
        ),
        Item(
            id="4",
            images=(),
            facts=(Chosen(question="Which is a solid?", choices=("water", "ice"), index=1),),
            task="choice",
            meta={"subject": "natural science", "topic": "physics", "grade": "grade2"},
        ),
        "filtered split",
        "no_answer",
        "no_partner",
    ],
)


def _diagram(name: str, **questions: object) -> Json:
    return Json({"imageName": name, "questions": questions})


AI2D_QUESTION = {
    "questionId": "12.png-0",
    "answerTexts": ["frog", "fish", "bird", "fly"],
    "correctAnswer": 2,
    "abcLabel": False,
}
AI2D = Layout(
    source="ai2d",
    files={
        "questions": Folder(
            {
                "12.png.json": _diagram("12.png", **{"What eats the fly?": AI2D_QUESTION}),
                "13.png.json": _diagram("13.png", **{"What eats the fly?": AI2D_QUESTION}),
                "14.png.json": _diagram("12.png"),
                "15.png.json": Plain("{"),
                "16.png.json": _diagram(
                    "12.png", **{"What?": {**AI2D_QUESTION, "correctAnswer": 4}}
                ),
            }
        ),
        "test_ids": Plain("13\n99\n"),
    },
    images=("12.png",),
    rows=[
        Item(
            id="12.png",
            images=(Path("12.png"),),
            facts=(
                Chosen(
                    question="What eats the fly?",
                    choices=("frog", "fish", "bird", "fly"),
                    index=2,
                ),
            ),
            task="choice",
        ),
        "filtered split",
        "no_question",
        "broken_json",
        "no_answer",
    ],
)

ALL = (AOKVQA, AOKVQA_OPEN, VSR, SCIENCEQA, AI2D)
