"""Scenes -> files: pictures and conversations on disk, laid out as a user's own data is."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

from isthmus.microworld.clips import NUM_FRAMES, Clip, animate
from isthmus.microworld.render import render
from isthmus.microworld.scene import Scene, Split, scenes
from isthmus.microworld.tasks import (
    CLIPS,
    PICTURED,
    TEXT_ONLY,
    VISUAL,
    VQA,
    Question,
    distinct,
    questions,
)
from isthmus.microworld.words import scene_text

DEFAULT_TURNS: dict[Split, int] = {"train": 6, "val": 1, "test": 1, "compositional": 1}
"""Training asks several questions of a picture; an evaluated answer stands alone."""
_TEXT_ONLY_SHARE = 0.1
_TRIES = 1000
"""Questions that are drawn for a picture at most, of which some cannot be asked."""
_TRIES_OF_CLIP = 100
"""The same for each question of a clip: among its three things at most, one that can be asked is
soon found, and of many clips none can."""
_TEXT_ONLY_TASKS = ("scene_qa", *TEXT_ONLY)


def export(
    directory: Path,
    *,
    split: Split,
    num: int,
    seed: int = 0,
    turns: int | None = None,
    tasks: Sequence[str] = (),
    still_frames: int = 1,
    on_row: Callable[[], None] | None = None,
) -> None:
    """Writes `images/`, `messages.jsonl` (canonical) and `llava.json` under a directory.

    The two data files hold the same conversations, one scene each, every row tagged with its tasks;
    LLaVA's form has no place for the style of a question.
    The first rows of a larger export are those of a smaller one.

    Args:
        directory: Made when it does not exist; also the image root.
        split: Which scenes.
        num: How many conversations; a scene that allows none of the tasks is passed over.
        seed: Another seed gives other scenes of the split.
        turns: Questions in a conversation; by default 6 in `train` and 1 elsewhere.
        tasks: Task names to draw from, evenly; by default all but those of clips and styles, with a
            tenth of text-only rows. A clip is a row of frames.
        still_frames: How often a picture stands in its row, for models that read clips alone.
        on_row: Called after each row, for a progress bar.

    Raises:
        ValueError: For an unknown task.
    """
    unknown = set(tasks) - set(PICTURED) - set(CLIPS) - set(_TEXT_ONLY_TASKS)
    if unknown:
        known = ", ".join((*PICTURED, *CLIPS, *_TEXT_ONLY_TASKS))
        raise ValueError(f"unknown microworld task {sorted(unknown)[0]!r}; the tasks are {known}")
    (directory / "images").mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for index, (scene, rng) in enumerate(scenes(split, None, seed)):
        if len(rows) == num:
            break
        name, num_turns = f"{split}-{seed}-{index:06d}", turns or DEFAULT_TURNS[split]
        shows = [scene]
        if clip := _clip(scene, rng, tasks):
            row, shows = _row_of_clip(name, clip, rng, num_turns, tasks), clip.frames()
        else:
            row = _row(name, scene, rng, num_turns, tasks, still_frames)
        if row is None:
            continue  # such as a scene without a sign, of which the sign is asked
        row["meta"] |= {"split": split, "scene": index}
        # Text alone shows nothing, and what stands still is the same file each time.
        for image, shown in zip(row["images"], shows, strict=False):
            render(shown).save(directory / image, compress_level=1)
        rows.append(row)
        if on_row is not None:
            on_row()
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    _write(directory / "llava.json", json.dumps([_as_llava(row) for row in rows], indent=1))
    # Written last: a directory that has this file is whole.
    _write(directory / "messages.jsonl", lines)


def _write(file: Path, text: str) -> None:
    """Writes beside the file and moves, so that a crash leaves no half file."""
    partial = file.with_name(f"{file.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(file)


def _clip(scene: Scene, rng: Random, tasks: Sequence[str]) -> Clip | None:
    """Makes a clip of a scene as often as tasks of clips are among those that are drawn."""
    share = sum(task in CLIPS for task in tasks) / len(tasks) if tasks else 0.0
    return animate(scene, rng) if share and rng.random() < share else None


def _row_of_clip(
    name: str, clip: Clip, rng: Random, turns: int, tasks: Sequence[str]
) -> dict[str, Any] | None:
    """One conversation about a clip; None where nothing that is asked happens in it."""
    of_clips = [task for task in tasks if task in CLIPS]
    drawn = (rng.choice(of_clips) for _ in range(_TRIES_OF_CLIP * turns))
    told = ((task, CLIPS[task](clip, rng)) for task in drawn)
    asked = distinct(((task, question) for task, question in told if question), turns)
    images = [f"images/{name}-{frame}.png" for frame in range(NUM_FRAMES)]
    return conversation(name, asked, images) if asked else None


def _row(
    name: str,
    scene: Scene,
    rng: Random,
    turns: int,
    tasks: Sequence[str],
    still_frames: int,
) -> dict[str, Any] | None:
    """One conversation as a canonical row; None where the scene allows none of the questions."""
    visual = [task for task in tasks if task in PICTURED] if tasks else list(VISUAL)
    blind = [task for task in tasks if task in _TEXT_ONLY_TASKS] if tasks else _TEXT_ONLY_TASKS
    blind_share = _TEXT_ONLY_SHARE if visual and blind else float(not visual)
    text_only = rng.random() < blind_share
    ask = (
        _ask_without_picture(scene, rng, blind)
        if text_only
        else questions(scene, rng, visual, _TRIES)
    )
    asked = distinct(ask, turns)
    if not asked:
        return None
    return conversation(name, asked, [] if text_only else [f"images/{name}.png"] * still_frames)


def conversation(
    name: str, asked: Sequence[tuple[str, Question]], images: Sequence[str]
) -> dict[str, Any]:
    """Returns questions and answers as a canonical row, whose first turn shows the images.

    Args:
        name: of the row.
        asked: tasks and their questions, in order; the last is what is measured.
        images: paths from the image root.
    """
    messages: list[dict[str, Any]] = []
    for _, question in asked:
        first = [] if messages else [{"type": "image"} for _ in images]
        user = [*first, {"type": "text", "text": question.text}]
        style = {"style": question.style} if question.style else {}
        messages.append({"role": "user", **style, "content": user})
        answer = [{"type": "text", "text": question.answer}]
        messages.append({"role": "assistant", "content": answer})
    last = asked[-1][1]
    return {
        "id": name,
        "task": asked[-1][0],
        "images": list(images),
        "messages": messages,
        "meta": {
            "tasks": [task for task, _ in asked],
            "boxes": [list(box) for box in last.boxes],
            "choices": list(last.choices),
        },
    }


def _ask_without_picture(
    scene: Scene, rng: Random, tasks: Sequence[str]
) -> Iterator[tuple[str, Question]]:
    """Endless text-only questions; `scene_qa` tells the scene in words before its question."""
    while True:
        task = rng.choice(tasks)
        if task != "scene_qa":
            yield task, TEXT_ONLY[task](rng)
            continue
        for _, question in questions(scene, rng, (*VQA, "reading"), 1):
            text = f"{scene_text(scene, rng)}\n{question.text}"
            yield task, Question(text, question.answer, question.choices)


def _as_llava(row: dict[str, Any]) -> dict[str, Any]:
    """The same conversation as a LLaVA JSON row."""
    speakers = {"user": "human", "assistant": "gpt"}
    conversations = []
    for message in row["messages"]:
        value = "".join(
            "<image>\n" if part["type"] == "image" else part["text"] for part in message["content"]
        )
        conversations.append({"from": speakers[message["role"]], "value": value})
    images = row["images"]
    image = {"image": images[0] if len(images) == 1 else images} if images else {}
    rest = {"task": row["task"], "meta": row["meta"]}
    return {"id": row["id"], **image, "conversations": conversations, **rest}
