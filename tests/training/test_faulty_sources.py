"""One row in a hundred of every kind of source has a fault: the run ends, and the counts add up."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from isthmus.training.data import MixtureData
from isthmus.training.run_folder import read_description
from tests.tiny import tiny_image
from tests.tiny_containers import PICTURE, pa, png, write_table, write_tar
from tests.tiny_video import clip
from tests.training.kills import run
from tests.training.tiny_recipe import tiny_recipe

ROWS = 100
FAULT = 37
"""Number of the row with a fault, from 0."""
FILTERED = 5
"""Rows of the captions that belong to another split."""
REASONS = {
    "tar": "image_damaged",
    "table": "not_an_image",
    "vqa": "no_partner",
    "clips": "not_a_video",
    "choices": "no_answer",
    "regions": "wrong_box",
    "captions": "empty_answer",
    "talk": "outside_image_root",
    "lines": "broken_json",
    "problems": "no_partner",
}


@pytest.fixture
def mixture(tmp_path: Path) -> Path:
    """Ten data sets in as many layouts."""
    folder = tmp_path / "mixture"
    (folder / "images").mkdir(parents=True)
    for number in range(4):
        tiny_image(seed=number).save(folder / f"images/{number}.png")
        (folder / f"images/{number}.mp4").write_bytes(clip("mp4", num_frames=6, first=number))
    (folder / "images/4.mp4").write_bytes(b"noise")
    vqa, problems = _vqa(), _problems()
    for name, content in (
        ("questions.json", vqa[0]),
        ("annotations.json", vqa[1]),
        ("problems.json", problems),
        ("splits.json", {"train": [str(n) for n in range(ROWS)]}),
        ("choices.json", _choices()),
        ("captions.json", {"images": _captions()}),
    ):
        (folder / name).write_text(json.dumps(content))
    for name, rows in (("clips", _clips()), ("regions", _regions()), ("talk", _talk())):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = [json.dumps(row) for row in _statements()]
    lines[FAULT] = lines[FAULT][:-9]
    (folder / "lines.jsonl").write_text("\n".join(lines) + "\n")
    write_tar(folder / "shard.tar", _members())
    _write_table(folder / "table.parquet")
    shown: dict[str, Any] = {"image_root": "images"}
    clips = {"fact": "caption", "image": "{clip}", "video": True, "fields": {"text": "said"}}
    by_id = {"options": {"image": "{image_id}.png"}}
    entries = [
        {"name": "tar", "source": "webdataset", "file": "shard.tar"},
        {"name": "table", "source": "hf_table", "file": "table.parquet"},
        {
            "name": "vqa",
            "source": "vqa",
            "files": {"questions": "questions.json", "annotations": "annotations.json"},
            **shown,
            **by_id,
        },
        {"name": "clips", "source": clips, "file": "clips.jsonl", "asking": {"frames": 2}, **shown},
        {"name": "choices", "source": "aokvqa", "file": "choices.json", **shown, **by_id},
        {"name": "regions", "source": "refcoco_xywh", "file": "regions.jsonl", **shown},
        {"name": "captions", "source": "karpathy", "file": "captions.json", **shown},
        {"name": "talk", "file": "talk.jsonl", "image_root": "."},
        {"name": "lines", "source": "vsr", "file": "lines.jsonl", **shown},
        {
            "name": "problems",
            "source": "scienceqa",
            "files": {"problems": "problems.json", "splits": "splits.json"},
            "options": {"image": "{image}"},
            **shown,
        },
    ]
    file = folder / "mixture.yaml"
    file.write_text(yaml.safe_dump({"entries": entries}))
    return file


@pytest.mark.slow
@pytest.mark.parametrize("lazy", [True, False], ids=["lazy", "tried"])
def test_what_is_seen_is_used_or_quarantined_or_filtered(
    tmp_path: Path, mixture: Path, lazy: bool
) -> None:
    data = MixtureData(mixture=mixture, lazy=lazy)  # the usual limit of bad rows holds
    recipe = tiny_recipe(tmp_path, data=data, epochs=1, batch_size=25, validation=None)
    result, _ = run(recipe, tmp_path / "out")
    lines = (tmp_path / "out/quarantine.jsonl").read_text().splitlines()
    kept = [json.loads(line) for line in lines]
    reasons = Counter(row["reason"] for row in kept)
    assert reasons == Counter(REASONS.values())
    assert len({row["file"] for row in kept}) == len(REASONS)
    assert all(row["row"] == FAULT + 1 for row in kept if row["reason"] != "no_partner")
    (stage,) = read_description(tmp_path / "out")["stages"]
    seen = ROWS * len(REASONS)
    used = seen - len(REASONS) - FILTERED
    assert result.samples == used
    if lazy:
        assert (result.refused, result.filtered) == (len(REASONS), FILTERED)
    else:
        assert stage["rejected"] == dict(reasons)
        assert sum(stage["filtered"].values()) == FILTERED


def _vqa() -> tuple[dict[str, Any], dict[str, Any]]:
    asked = [{"question_id": n, "image_id": n % 4, "question": f"{n}?"} for n in range(ROWS)]
    answered = [
        {"question_id": n, "multiple_choice_answer": "no", "answers": []}
        for n in range(ROWS)
        if n != FAULT
    ]
    return {"questions": asked}, {"annotations": answered}


def _clips() -> list[dict[str, Any]]:
    return [{"clip": f"{4 if n == FAULT else n % 4}.mp4", "said": "it"} for n in range(ROWS)]


def _choices() -> list[dict[str, Any]]:
    return [
        {
            "question_id": str(n),
            "image_id": n % 4,
            "split": "train",
            "question": "What?",
            "choices": ["one", "two"],
            "correct_choice_idx": 2 if n == FAULT else n % 2,
            "rationales": [],
            "direct_answers": ["one"],
        }
        for n in range(ROWS)
    ]


def _regions() -> list[dict[str, Any]]:
    return [
        {
            "question_id": str(n),
            "image": f"{n % 4}.png",
            "answer": ["it"],
            "bbox": [2, 3, 0 if n == FAULT else 8, 9],
        }
        for n in range(ROWS)
    ]


def _captions() -> list[dict[str, Any]]:
    return [
        {
            "imgid": n,
            "filename": f"{n % 4}.png",
            "split": "val" if n < FILTERED else "train",
            "sentences": [{"raw": " " if n == FAULT else "it"}],
        }
        for n in range(ROWS)
    ]


def _talk() -> list[dict[str, Any]]:
    return [
        {
            "id": f"talk-{n}",
            "images": ["../outside.png" if n == FAULT else f"images/{n % 4}.png"],
            "messages": [
                {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]},
                {"role": "assistant", "content": "it"},
            ],
        }
        for n in range(ROWS)
    ]


def _statements() -> list[dict[str, Any]]:
    return [
        {"image": f"{n % 4}.png", "caption": "It is left.", "label": n % 2} for n in range(ROWS)
    ]


def _problems() -> dict[str, Any]:
    return {
        str(n): {
            "question": "What?",
            "choices": ["one", "two"],
            "answer": n % 2,
            "hint": "",
            "image": f"{n % 4}.png",
        }
        for n in range(ROWS)
        if n != FAULT
    }


def _members() -> list[tuple[str, bytes]]:
    found = []
    for n in range(ROWS):
        picture = png(n % 4)
        found.append((f"{n:05d}.png", picture[:60] if n == FAULT else picture))
        found.append((f"{n:05d}.txt", b"it"))
    return found


def _write_table(file: Path) -> None:
    text = pa.struct([("user", pa.string()), ("assistant", pa.string())])
    schema = pa.schema([("images", pa.list_(PICTURE)), ("texts", pa.list_(text))])
    rows = [
        {
            "images": [{"bytes": b"noise" if n == FAULT else png(n % 4), "path": None}],
            "texts": [{"user": "?", "assistant": "it"}],
        }
        for n in range(ROWS)
    ]
    write_table(file, rows, schema)
