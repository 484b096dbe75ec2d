"""The shape of a task: from a scene and a source of chance to one question with its exact answer."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from isthmus.microworld.scene import Box, Scene


@dataclass(frozen=True, slots=True)
class Question:
    """One question, its exact answer, and what a scorer may need beside it."""

    text: str
    answer: str
    choices: tuple[str, ...] = ()
    """The letters to choose from, for multiple choice."""
    boxes: tuple[Box, ...] = ()
    """Boxes of the answer, in pixels."""


Task = Callable[[Scene, Random], Question | None]
"""Draws a question about a scene, or None when the scene does not allow one."""
