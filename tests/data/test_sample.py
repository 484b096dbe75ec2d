"""The canonical sample refuses what cannot be learned from."""

from pathlib import Path

import pytest

from isthmus.data.sample import ImagePart, Message, Sample, Text, whole_clips

ASK = Message("user", (ImagePart(), Text("What is it?")))
ANSWER = Message("assistant", (Text("A ring."),))
IMAGE = Path("/images/a.png")


def test_without_images_keeps_the_words_and_nothing_else() -> None:
    sample = Sample(id="a", messages=(ASK, ANSWER), images=(IMAGE,), task="colour")
    blind = sample.without_images()
    assert blind.images == ()
    assert [m.parts for m in blind.messages] == [(Text("What is it?"),), (Text("A ring."),)]
    assert (blind.id, blind.task) == ("a", "colour")


def test_a_turns_only_picture_stands_still() -> None:
    clip = Message("user", (*[ImagePart()] * 3, Text("Where does it go?")))
    messages, images = whole_clips([ASK, ANSWER, clip], "abcd", 2)
    assert "".join(images) == "aabcd"  # a clip and a half, which the model refuses
    assert messages == [Message("user", (ImagePart(), *ASK.parts)), ANSWER, clip]
    assert whole_clips(messages, images, 2) == (messages, images)
    assert whole_clips([ASK], "a", 1) == ([ASK], ["a"])


@pytest.mark.parametrize(
    ("messages", "images", "reason"),
    [
        ((ASK, ANSWER), (), "1 image marks for 0 images"),
        ((ASK, ANSWER), (IMAGE, IMAGE), "1 image marks for 2 images"),
        ((ASK,), (IMAGE,), "no assistant turn"),
        ((ASK, Message("assistant", (Text(" \n"),))), (IMAGE,), "turn is empty"),
        ((ASK, Message("assistant", ())), (IMAGE,), "turn is empty"),
        (
            (ANSWER, Message("assistant", (ImagePart(), Text("so")))),
            (IMAGE,),
            "turn shows an image",
        ),
    ],
)
def test_faults_are_named_with_the_sample(
    messages: tuple[Message, ...], images: tuple[Path, ...], reason: str
) -> None:
    with pytest.raises(ValueError, match=f"^row-7: .*{reason}"):
        Sample(id="row-7", messages=messages, images=images)


def test_chat_form_with_and_without_typed_parts() -> None:
    assert ASK.to_chat() == {
        "role": "user",
        "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}],
    }
    assert ASK.to_chat("<i>") == {"role": "user", "content": "<i>What is it?"}


def test_boxes_are_numbers_whatever_wrote_them() -> None:
    boxed = Sample(id="a", messages=(ANSWER,), meta={"boxes": [[0, 1, 2.5, 3]]})
    assert boxed.boxes == ((0.0, 1.0, 2.5, 3.0),)
    for meta in ({}, {"boxes": []}, {"boxes": None}):
        assert Sample(id="a", messages=(ANSWER,), meta=meta).boxes == ()


@pytest.mark.parametrize(
    "boxes",
    [
        "0,1,2,3",
        [0, 1, 2, 3],
        [[0, 1, 2]],
        [["0", "1", "2", "3"]],
        [[20, 20, 5, 5]],
        [[0, 0, float("nan"), 1]],
        {"cat": [0, 1, 2, 3]},
    ],
)
def test_what_is_no_list_of_boxes_is_refused(boxes: object) -> None:
    sample = Sample(id="row-7", messages=(ANSWER,), meta={"boxes": boxes})
    with pytest.raises(ValueError, match=r"row-7: meta\.boxes is .*; expected a list of \[x0, y0"):
        _ = sample.boxes
