"""What can be wrong with a row of a user's data, by kind, so that faults can be counted."""

from typing import Literal, final

Reason = Literal[
    "broken_json",
    "wrong_layout",
    "wrong_box",
    "no_partner",
    "archive_damaged",
    "outside_image_root",
    "image_missing",
    "image_empty",
    "not_an_image",
    "image_too_large",
    "image_damaged",
    "image_marks",
    "not_a_video",
    "video_damaged",
    "video_too_long",
    "no_answer",
    "no_question",
    "empty_answer",
    "too_long",
    "chat_template",
    "no_label",
]
"""`wrong_layout` is a row or a value of another type than expected, `wrong_box` a box without area
or outside its picture, `no_partner` a row whose other half, in another list or file, is not there,
`archive_damaged` a tar file or a table that is torn, `image_marks` more or fewer marks than images,
`chat_template` a conversation that the template refuses, and `no_label` an answer that it drops."""


@final
class Fault(ValueError):
    """A row that cannot be used, and why."""

    def __init__(self, reason: Reason, message: str):
        """Takes the kind of the fault, and the sentence that names the value and the remedy."""
        super().__init__(message)
        self.reason: Reason = reason


@final
class NothingReadable(Exception):
    """Of a batch whose faulty samples are left out, none is left."""


@final
class Filtered(Exception):
    """A row that could be used and is not asked for, by what it was told apart."""

    def __init__(self, reason: str):
        """Takes a short name of the rule, such as `split`, by which rows are counted."""
        super().__init__(reason)
        self.reason = reason
