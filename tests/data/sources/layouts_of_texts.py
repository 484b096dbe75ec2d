"""Data sets of captions, of clips, and of documents."""

from dataclasses import replace
from pathlib import Path

from isthmus.data.facts import Answered, Captioned, Item
from isthmus.data.sample import ImagePart, Message, Sample, Text
from tests.data.sources.layouts import Json, JsonLines, Layout, Plain


def _captions(name: str, image: str, *texts: str, **meta: object) -> Item:
    return Item(
        id=name,
        images=(Path(image),),
        facts=tuple(Captioned(text=text) for text in texts),
        task="caption",
        meta=meta,
    )


def _clip(name: str, clip: str, question: str, answer: str, *answers: str, **meta: object) -> Item:
    return Item(
        id=name,
        images=(Path(clip),),
        facts=(Answered(question=question, answer=answer, answers=answers),),
        task="vqa",
        meta={**meta, "video": True},
    )


def _karpathy(number: int, split: str, **fields: object) -> dict[str, object]:
    sentences = [
        {"sentid": n, "imgid": number, "raw": raw, "tokens": raw.lower().split()}
        for n, raw in enumerate(("Two kids play.", "Kids outside."))
    ]
    return {
        "imgid": number,
        "filename": f"{number}.png",
        "split": split,
        "sentids": [0, 1],
        "sentences": sentences,
        **fields,
    }


KARPATHY = Layout(
    source="karpathy",
    files={
        "file": Json(
            {
                "dataset": "coco",
                "images": [
                    _karpathy(1, "train"),
                    _karpathy(2, "restval", filepath="val2014", cocoid=17),
                    _karpathy(1, "test"),
                    _karpathy(3, "train"),
                    _karpathy(1, "train", sentences=[]),
                    _karpathy(1, "train", sentences=[{"raw": " "}]),
                    7,
                ],
            }
        )
    },
    images=("1.png", "val2014/2.png"),
    rows=[
        _captions("1", "1.png", "Two kids play.", "Kids outside."),
        _captions("2", "val2014/2.png", "Two kids play.", "Kids outside.", cocoid=17),
        "filtered split",
        "image_missing",
        "wrong_layout",
        "empty_answer",
        "wrong_layout",
    ],
)
TEXTCAPS = Layout(
    source="textcaps",
    files={
        "file": Json(
            {
                "data": [
                    {
                        "image_id": "0054c91397f2fe05",
                        "caption_str": "a can of soda",
                        "reference_strs": ["a can of soda", "a red can"],
                        "image_classes": ["Can"],
                        "caption_id": 1,
                    },
                    {"image_id": "0054c91397f2fe05", "caption_id": 2},
                ]
            }
        )
    },
    images=("0054c91397f2fe05.jpg",),
    rows=[
        _captions(
            "1",
            "0054c91397f2fe05.jpg",
            "a can of soda",
            reference_strs=["a can of soda", "a red can"],
        ),
        "no_answer",
    ],
)
MSRVTT = Layout(
    source="msrvtt",
    files={
        "file": Json(
            {
                "info": {},
                "videos": [
                    {
                        "id": 0,
                        "video_id": "video0",
                        "category": 9,
                        "url": "https://a.org/0",
                        "start time": 137.7,
                        "end time": 149.4,
                        "split": "train",
                    },
                    {"id": 1, "video_id": "video1", "split": "validate"},
                    {"id": 2, "video_id": "video2", "split": "train"},
                    {"id": 3, "video_id": "video3", "split": "train"},
                ],
                "sentences": [
                    {"sen_id": 0, "video_id": "video0", "caption": "a car drives"},
                    {"sen_id": 1, "video_id": "video3", "caption": "a car stands"},
                    {"sen_id": 2, "video_id": "video9", "caption": "a car flies"},
                    {"sen_id": 3, "video_id": "video0", "caption": "someone drives"},
                ],
            }
        )
    },
    images=("video0.mp4",),
    rows=[
        _captions("video0", "video0.mp4", "a car drives", "someone drives", video=True),
        "filtered split",
        "no_partner",
        "image_missing",
        "no_partner",
    ],
)
VATEX = Layout(
    source="vatex",
    files={
        "file": Json(
            [
                {
                    "videoID": "Ptf_2VRj-V0_000122_000132",
                    "enCap": ["A man swims.", "Someone swims."],
                    "chCap": ["一个人在游泳。"],
                },
                {"videoID": "Ptf_2VRj-V0_000122_000132"},
            ]
        )
    },
    images=("Ptf_2VRj-V0_000122_000132.mp4",),
    rows=[
        _captions(
            "Ptf_2VRj-V0_000122_000132",
            "Ptf_2VRj-V0_000122_000132.mp4",
            "A man swims.",
            "Someone swims.",
            video=True,
        ),
        "wrong_layout",
    ],
)
MSRVTT_QA = Layout(
    source="msrvtt_qa",
    files={
        "file": Json(
            [
                {
                    "id": 0,
                    "video_id": 7,
                    "category_id": 14,
                    "question": "what drives?",
                    "answer": "car",
                }
            ]
        )
    },
    images=("video7.mp4",),
    rows=[_clip("0", "video7.mp4", "what drives?", "car", category_id=14)],
)
LAVIS_VIDEO_QA = Layout(
    source="lavis_video_qa",
    files={
        "file": Json(
            [{"question_id": 5, "video": "v.mp4", "question": "what drives?", "answer": "car"}]
        )
    },
    images=("v.mp4",),
    rows=[_clip("5", "v.mp4", "what drives?", "car")],
)
MSVD_QA = Layout(
    source="msvd_qa",
    files={
        "file": Json(
            [
                {"id": 0, "video_id": 1, "question": "what drives?", "answer": "car"},
                {"id": 1, "video_id": 2, "question": "what drives?", "answer": "car"},
                {"id": 2, "video_id": 3, "question": "what drives?", "answer": "car"},
                {"id": 3, "video_id": 1, "question": "what drives?", "answer": ""},
            ]
        ),
        "names": Plain("-4wsuPCjDBc_5_15 vid1\n\n8MVo7fje_oE_85_90 vid2\n"),
    },
    images=("-4wsuPCjDBc_5_15.avi",),
    rows=[
        _clip("0", "-4wsuPCjDBc_5_15.avi", "what drives?", "car"),
        "image_missing",
        "no_partner",
        "empty_answer",
    ],
)
IVQA = Layout(
    source="ivqa",
    files={
        "file": Plain(
            "video_id,start,end,question,answer1,answer2,answer3,answer4,answer5,confidence\n"
            'abc,5,15,"What is cut, and how?",onion,an onion,onion,,onions,0.8\n'
            "abd,5,15,What is cut?,onion,onion,onion,onion,onion,1\n"
            "abc,5,15\n"
        )
    },
    images=("abc.mp4",),
    rows=[
        _clip(
            "row-1",
            "abc.mp4",
            "What is cut, and how?",
            "onion",
            *("onion", "an onion", "onion", "onions"),
            start="5",
            end="15",
            confidence="0.8",
        ),
        "image_missing",
        "no_question",
    ],
)
MSVD_CAPTIONS = Layout(
    source="msvd_captions",
    files={"file": Plain("abc_5_15 a man cuts an onion\n\nabc_5_15\n")},
    images=("abc_5_15.avi",),
    rows=[_captions("row-1", "abc_5_15.avi", "a man cuts an onion", video=True), "no_answer"],
)
MSVD_DESCRIPTIONS = Layout(
    source="msvd_descriptions",
    files={
        "file": Plain(
            "VideoID,Start,End,WorkerID,Source,AnnotationTime,Language,Description\n"
            'abc,5,15,1,clean,9,English,"A man, cutting."\n'
            "abc,5,15,2,clean,9,German,Ein Mann.\n"
        )
    },
    images=("abc_5_15.avi",),
    rows=[_captions("row-1", "abc_5_15.avi", "A man, cutting.", video=True), "filtered Language"],
)


def _shows(count: int) -> Message:
    return Message("user", (ImagePart(),) * count or (Text(""),))


def _says(text: str) -> Message:
    return Message("assistant", (Text(text),))


OBELICS = Layout(
    source="obelics",
    files={
        "file": JsonLines(
            [
                {
                    "images": [None, "1.png", "2.png", None, None, "1.png"],
                    "texts": ["We went up.", None, None, "It rained.", "It was fun.", None],
                    "metadata": "[]",
                    "general_metadata": "{}",
                },
                {"images": ["1.png", None], "texts": ["both", "a text"]},
                {"images": ["1.png"], "texts": []},
                {"images": ["1.png"], "texts": [None]},
                {"images": ["https://a.org/1.png", None], "texts": [None, "A page."]},
                {"images": [None], "texts": ["Only words."]},
            ]
        )
    },
    images=("1.png", "2.png"),
    rows=[
        Sample(
            id="row-1",
            messages=(
                _shows(0),
                _says("We went up."),
                _shows(2),
                _says("It rained.\n\nIt was fun."),
            ),
            images=(Path("1.png"), Path("2.png")),
            task="interleaved",
            meta={"unused_images": 1},
        ),
        "wrong_layout",
        "wrong_layout",
        "no_answer",
        "image_missing",
        Sample(id="row-6", messages=(_shows(0), _says("Only words.")), task="interleaved"),
    ],
)
PAGE = {
    "url": "https://a.org",
    "text_list": ["We went up.", "It rained.", "It was fun."],
    "image_info": [
        {
            "image_name": "1.png",
            "raw_url": "https://a.org/1.png",
            "matched_text_index": 1,
            "matched_sim": 0.31,
            "face_detections": None,
        },
        {"image_name": "2.png", "matched_text_index": 1, "matched_sim": 0.3},
    ],
    "similarity_matrix": [[0.2, 0.31, 0.1], [0.2, 0.3, 0.1]],
    "could_have_url_duplicate": 0,
}
PAGE_SAMPLE = Sample(
    id="row-1",
    messages=(_shows(0), _says("We went up."), _shows(2), _says("It rained. It was fun.")),
    images=(Path("1.png"), Path("2.png")),
    task="interleaved",
    meta={"url": "https://a.org"},
)
MMC4 = Layout(
    source="mmc4",
    files={
        "file": JsonLines(
            [
                PAGE,
                {**PAGE, "image_info": [{"image_name": "1.png", "matched_text_index": 3}]},
                {**PAGE, "image_info": [{"image_name": "3.png", "matched_text_index": 0}]},
                {**PAGE, "text_list": [], "image_info": []},
            ]
        )
    },
    images=("1.png", "2.png"),
    rows=[PAGE_SAMPLE, "wrong_layout", "image_missing", "no_answer"],
)
MMC4_AFTER = Layout(
    source="mmc4",
    options={"placement": "after"},
    files={"file": JsonLines([PAGE])},
    images=("1.png", "2.png"),
    rows=[
        replace(
            PAGE_SAMPLE,
            messages=(_shows(0), _says("We went up. It rained."), _shows(2), _says("It was fun.")),
        )
    ],
)

ALL = (
    *(KARPATHY, TEXTCAPS, MSRVTT, VATEX, MSRVTT_QA, LAVIS_VIDEO_QA, MSVD_QA, IVQA),
    *(MSVD_CAPTIONS, MSVD_DESCRIPTIONS, OBELICS, MMC4, MMC4_AFTER),
)
