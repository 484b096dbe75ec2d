"""Data sets of phrases that name a box."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from isthmus.data.facts import Item, Located, Size
from isthmus.geometry.boxes import Box
from tests.data.sources.layouts import Json, JsonLines, Layout, Pickle

TRAIN = "COCO_train2014_000000000007.jpg"
COCO = {
    "images": [
        {"id": 7, "file_name": TRAIN, "width": 640, "height": 480},
        {"id": 8, "file_name": "COCO_train2014_000000000008.jpg", "width": 640, "height": 480},
    ],
    "annotations": [
        {"id": 71, "image_id": 7, "category_id": 1, "bbox": [10.0, 20.5, 30.0, 40.0], "area": 9},
        {"id": 72, "image_id": 7, "category_id": 1, "bbox": [10.0, 20.5, 0.0, 40.0], "area": 0},
    ],
}
BOX: Box = (10.0, 20.5, 40.0, 60.5)


def _regions(
    name: str, image: str, box: Box, *phrases: str, size: Size | None = (640, 480)
) -> Item:
    return Item(
        id=name,
        images=(Path(image),),
        facts=tuple(Located(phrase=phrase, box=box, size=size) for phrase in phrases),
        task="region",
    )


def _ref(number: int, **fields: Any) -> dict[str, Any]:
    said = [("THE LADY", "the lady"), ("lady é", "lady é")]
    return {
        "ref_id": number,
        "ann_id": 71,
        "image_id": 7,
        "category_id": 1,
        "split": "train",
        "file_name": "COCO_train2014_000000000007_0.jpg",
        "sent_ids": [0, 1],
        "sentences": [
            {"sent_id": n, "raw": raw, "sent": sent, "tokens": sent.split()}
            for n, (raw, sent) in enumerate(said)
        ],
        **fields,
    }


REFCOCO = Layout(
    source="refcoco",
    files={
        "refs": Pickle(
            [
                _ref(0),
                _ref(1, split="testA"),
                _ref(2, ann_id=79),
                _ref(3, image_id=79),
                _ref(4, image_id=8),
                _ref(5, ann_id=72),
                _ref(6, sentences=[{"sent": ""}]),
                "no reference",
            ]
        ),
        "instances": Json(COCO),
    },
    images=(TRAIN,),
    rows=[
        _regions("0", TRAIN, BOX, "the lady", "lady é"),
        "filtered split",
        "no_partner",
        "no_partner",
        "image_missing",
        "wrong_box",
        "empty_answer",
        "wrong_layout",
    ],
)


def _mdetr(number: int, **image: Any) -> dict[str, Any]:
    return {
        "id": number,
        "file_name": TRAIN,
        "height": 480,
        "width": 640,
        "original_id": 7,
        "caption": "woman in black",
        "dataset_name": "refcocog",
        **image,
    }


def _bbox(number: int, box: Any) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": number,
        "bbox": box,
        "area": 1.0,
        "iscrowd": 0,
        "category_id": 1,
        "original_id": 71,
    }


SIDES = [10.0, 20.5, 30.0, 40.0]
MDETR = Layout(
    source="mdetr",
    files={
        "file": Json(
            {
                "images": [_mdetr(1), _mdetr(2), _mdetr(3), _mdetr(4, file_name="x"), _mdetr(5)],
                "annotations": [
                    *(_bbox(1, SIDES), _bbox(3, SIDES), _bbox(3, [1, 2, 3]), _bbox(4, SIDES)),
                    *(_bbox(5, [1, 2, 3, 0]), _bbox(6, SIDES)),
                ],
            }
        )
    },
    images=(TRAIN,),
    rows=[
        _regions("1", TRAIN, BOX, "woman in black"),
        "no_partner",
        "wrong_box",
        "image_missing",
        "wrong_box",
        "no_partner",
    ],
)
REFCOCO_XYWH = Layout(
    source="refcoco_xywh",
    files={
        "file": JsonLines(
            [
                {
                    "question_id": 469306,
                    "image": "1.png",
                    "question": "Please describe the region.",
                    "answer": ["the lady", "lady in red"],
                    "segmentation": [1.0, 2.0],
                    "bbox": SIDES,
                    "iscrowd": 0,
                    "file_name": "COCO_train2014_000000000007_0.jpg",
                },
                {"question_id": 2, "image": "1.png", "answer": ["the lady"], "bbox": "10 20 3 4"},
                {"question_id": 3, "image": "1.png", "answer": [], "bbox": SIDES},
            ]
        )
    },
    rows=[
        _regions("469306", "1.png", BOX, "the lady", "lady in red", size=None),
        "wrong_layout",
        "wrong_layout",
    ],
)


def _xyxy(number: int, bbox: Any, **fields: Any) -> dict[str, Any]:
    return {
        "sent_ids": [0, 1],
        "file_name": "COCO_train2014_000000000007_0.jpg",
        "ann_id": 71,
        "ref_id": number,
        "image_id": 7,
        "split": "train",
        "sentences": [{"raw": "THE LADY", "sent": "the lady", "sent_id": 0, "tokens": ["the"]}],
        "category_id": 1,
        "raw_anns": json.dumps({"bbox": SIDES, "id": 71}),
        "raw_image_info": json.dumps({"width": 640, "height": 480, "file_name": TRAIN}),
        "raw_sentences": "[]",
        "image_path": f"train2014/{TRAIN}",
        "bbox": bbox,
        "captions": ["the lady", "lady in red"],
        "global_image_id": "coco.7",
        "anns_id": "coco.71",
        **fields,
    }


REFCOCO_XYXY = Layout(
    source="refcoco_xyxy",
    files={
        "file": JsonLines(
            [
                _xyxy(0, [10.0, 20.5, 40.0, 60.5]),
                _xyxy(1, SIDES),
                _xyxy(2, [1.0, 2.0, 3.0, 4.0]),
                _xyxy(3, SIDES, split="testB"),
                _xyxy(4, SIDES, raw_anns="{"),
            ]
        )
    },
    images=(f"train2014/{TRAIN}",),
    rows=[
        _regions("0", f"train2014/{TRAIN}", BOX, "the lady", "lady in red"),
        _regions("1", f"train2014/{TRAIN}", BOX, "the lady", "lady in red"),
        "wrong_box",
        "filtered split",
        "broken_json",
    ],
)
GENOME = "VG_100K_2/1.jpg"


def _region(number: int, *box: int) -> dict[str, Any]:
    edges = dict(zip(("x", "y", "width", "height"), box, strict=True))
    return {"region_id": number, "image_id": 1, "phrase": "the clock is green", **edges}


VISUAL_GENOME = Layout(
    source="visual_genome_regions",
    files={
        "regions": Json(
            [
                {
                    "id": 1,
                    "regions": [
                        _region(1382, 421, 57, 82, 139),
                        _region(1383, 750, -5, 100, 50),
                        _region(1384, 10, 10, 0, 10),
                        _region(1385, 800, 10, 10, 10),
                    ],
                },
                {"image_id": 2, "regions": [_region(5, 1, 1, 2, 2)]},
                {"id": 3, "regions": [_region(6, 1, 1, 2, 2)]},
                {"id": 4},
            ]
        ),
        "image_data": Json(
            [
                {
                    "image_id": 1,
                    "width": 800,
                    "height": 600,
                    "url": "https://a.org/rak248/VG_100K_2/1.jpg",
                    "coco_id": None,
                    "flickr_id": None,
                },
                {"id": 2, "width": 800, "height": 600, "url": "https://a.org/VG_100K/2.jpg"},
            ]
        ),
    },
    images=(GENOME,),
    rows=[
        _regions(
            "1382", GENOME, (421.0, 57.0, 503.0, 196.0), "the clock is green", size=(800, 600)
        ),
        _regions("1383", GENOME, (750.0, 0.0, 800.0, 45.0), "the clock is green", size=(800, 600)),
        "wrong_box",
        "wrong_box",
        "image_missing",
        "no_partner",
        "wrong_layout",
    ],
)
TEST_A = replace(
    REFCOCO,
    options={"split": "testA", "image": "train2014/{file_name}"},
    images=(f"train2014/{TRAIN}",),
    rows=[
        "filtered split",
        _regions("1", f"train2014/{TRAIN}", BOX, "the lady", "lady é"),
        *["filtered split"] * 5,
        "wrong_layout",
    ],
)

ALL = (REFCOCO, TEST_A, MDETR, REFCOCO_XYWH, REFCOCO_XYXY, VISUAL_GENOME)
