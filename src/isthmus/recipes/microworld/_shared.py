"""What recipes of the microworld share: the questions that are learned from."""

from isthmus.training.stage import MicroworldData

TASKS = (
    *("colour", "shape", "count", "existence", "relation", "comparison", "position"),
    *("multiple_choice", "reading", "board", "caption", "referring", "grounded_vqa"),
    *("scene_qa", "arithmetic", "copying", "sorting"),
)
"""All but the two whose answers are long: they would take a third of the time and the memory."""


def questions(num: int) -> MicroworldData:
    """Returns ten questions on each of so many scenes.

    A picture costs 64 tokens, however much is asked about it.
    """
    return MicroworldData(split="train", num=num, turns=10, tasks=TASKS)
