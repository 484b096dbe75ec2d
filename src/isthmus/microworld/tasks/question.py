"""The shape of a task: a scene and a source of chance in, one question with its answer out."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import final

from isthmus.microworld.scene import Box, Scene


@final
@dataclass(frozen=True, slots=True)
class Question:
    """One question, its exact answer, and what a scorer may need beside it."""

    text: str
    answer: str
    choices: tuple[str, ...] = ()
    """The letters to choose from, for multiple choice."""
    boxes: tuple[Box, ...] = ()
    """Boxes of the answer, in pixels."""
    style: str | None = None
    """How the chat template is to ask, of those that it knows."""


Task = Callable[[Scene, Random], Question | None]
"""Draws a question about a scene, or None when the scene does not allow one."""
