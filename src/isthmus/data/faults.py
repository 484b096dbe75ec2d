"""What can be wrong with a row of a user's data, by kind, so that faults can be counted."""

from typing import Literal, final

Reason = Literal[
    "broken_json",
    "wrong_layout",
    "outside_image_root",
    "image_missing",
    "image_empty",
    "not_an_image",
    "image_too_large",
    "image_damaged",
    "image_marks",
    "no_answer",
    "no_question",
    "empty_answer",
    "too_long",
    "chat_template",
    "no_label",
]
"""`wrong_layout` is a row or a value of another type than expected, `image_marks` more or fewer
marks than images, `chat_template` a conversation that the template refuses, and `no_label` an
answer that it drops."""


@final
class Fault(ValueError):
    """A row that cannot be used, and why."""

    def __init__(self, reason: Reason, message: str):
        """Takes the kind of the fault, and the sentence that names the value and the remedy."""
        super().__init__(message)
        self.reason: Reason = reason
