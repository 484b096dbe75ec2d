"""The tasks of the microworld by name, and how questions about one scene are drawn."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random

from isthmus.microworld.clips import Clip
from isthmus.microworld.scene import Scene
from isthmus.microworld.tasks.attributes import colour, shape
from isthmus.microworld.tasks.caption import caption
from isthmus.microworld.tasks.choice import multiple_choice
from isthmus.microworld.tasks.comparison import comparison
from isthmus.microworld.tasks.counting import count
from isthmus.microworld.tasks.existence import existence
from isthmus.microworld.tasks.grounding import grounded_caption, grounded_vqa, referring, region
from isthmus.microworld.tasks.motion import clip_caption, direction, first, order, visits
from isthmus.microworld.tasks.question import Question, Task
from isthmus.microworld.tasks.reading import reading
from isthmus.microworld.tasks.space import board, position, relation
from isthmus.microworld.tasks.styles import chat_answer, short_answer
from isthmus.microworld.tasks.text_only import arithmetic, copying, sorting

VQA: dict[str, Task] = {
    "colour": colour,
    "shape": shape,
    "count": count,
    "existence": existence,
    "relation": relation,
    "comparison": comparison,
    "position": position,
    "multiple_choice": multiple_choice,
}
"""Questions with a short exact answer that need neither boxes nor a sign."""

GROUNDED: dict[str, Task] = {
    "referring": referring,
    "region": region,
    "grounded_vqa": grounded_vqa,
    "grounded_caption": grounded_caption,
}
VISUAL: dict[str, Task] = {
    **VQA,
    "reading": reading,
    "board": board,
    "caption": caption,
    **GROUNDED,
}
CLIPS: dict[str, Callable[[Clip, Random], Question | None]] = {
    "direction": direction,
    "first": first,
    "order": order,
    "visits": visits,
    "clip_caption": clip_caption,
}
"""What is asked about a clip, only where it is named."""
STYLED: dict[str, Task] = {"short_answer": short_answer, "chat_answer": chat_answer}
"""Questions in a style, only where they are named: few chat templates know styles."""
PICTURED: dict[str, Task] = {**VISUAL, **STYLED}
"""All that can be asked about a picture."""
TEXT_ONLY: dict[str, Callable[[Random], Question]] = {
    "arithmetic": arithmetic,
    "copying": copying,
    "sorting": sorting,
}

__all__ = [
    "CLIPS",
    "GROUNDED",
    "PICTURED",
    "STYLED",
    "TEXT_ONLY",
    "VISUAL",
    "VQA",
    "Question",
    "Task",
    "distinct",
    "questions",
]


def questions(
    scene: Scene, rng: Random, tasks: Sequence[str], num: int
) -> Iterator[tuple[str, Question]]:
    """Yields up to `num` (task, question) pairs about a scene, tasks drawn evenly from `tasks`."""
    for _ in range(num):
        name = rng.choice(tasks)
        question = PICTURED[name](scene, rng)
        if question is not None:
            yield name, question


def distinct(stream: Iterable[tuple[str, Question]], num: int) -> list[tuple[str, Question]]:
    """The first `num` questions with different wording; fewer when they run out."""
    asked: dict[str, tuple[str, Question]] = {}
    for _, (task, question) in zip(range(20 * num), stream, strict=False):
        asked.setdefault(question.text, (task, question))
        if len(asked) == num:
            break
    return list(asked.values())
