"""Images that follow one another are read as the frames of a clip, for the tokens of one image."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from isthmus import IsthmusForConditionalGeneration, IsthmusProcessor
from isthmus.axes import Patches
from isthmus.cli.chat import Conversation
from isthmus.connectors.perceiver_resampler import PerceiverResampler
from isthmus.data.faults import Fault
from isthmus.data.sample import ImagePart, Message, Sample, Text
from isthmus.evaluation.generation import askable
from isthmus.evaluation.requests import Choose, Prompt
from isthmus.evaluation.runner import answer
from isthmus.modeling.configuration_isthmus import IsthmusConfig
from tests.tiny import tiny_image, tiny_model, tiny_pixels

FRAMES = 2
RESAMPLER = PerceiverResampler.Config(
    num_latents=4, depth=1, num_heads=2, d_head=4, num_frames=FRAMES
)


@pytest.fixture(scope="module")
def built(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[IsthmusForConditionalGeneration, IsthmusProcessor]:
    folder = tmp_path_factory.mktemp("clips")
    model, processor = tiny_model(folder, connector=RESAMPLER, clip_frames=FRAMES)
    torch.nn.init.normal_(model.model.connector.frame_embeddings)
    return model.eval(), processor


def logits(model: Any, processor: Any, order: tuple[int, ...]) -> Tensor:
    text = processor.image_token * len(order) + "what"
    inputs = processor([tiny_image(n) for n in order], text, return_tensors="pt")
    with torch.no_grad():
        return model(**inputs).logits[0, -1]


def test_frames_go_through_the_connector_together(built: Any) -> None:
    model, _ = built
    with torch.no_grad():
        alone = model.model.encode_images(tiny_pixels(6))
        found = model.model.connect(alone)
        clips = [torch.cat([alone.features[n], alone.features[n + 1]]) for n in (0, 2, 4)]
        whole = Patches(features=torch.stack(clips), grid=alone.grid, num_frames=2)
        assert torch.equal(found, model.model.connector(whole))
    assert found.shape[:2] == (3, 4)
    assert torch.equal(model.model.connect(alone.features), found)  # as a feature store keeps them


def test_a_clip_costs_as_many_positions_as_an_image(built: Any) -> None:
    model, processor = built
    assert (model.config.num_image_tokens, model.config.num_placeholders) == (4, 2)
    inputs = processor([tiny_image(0)] * 2, processor.image_token * 2, return_tensors="pt")
    assert int((inputs["input_ids"] == processor.image_token_id).sum()) == 4


def test_every_frame_and_their_order_are_seen(built: Any) -> None:
    still, moving, back = (logits(*built, order) for order in ((0, 0), (0, 1), (1, 0)))
    assert not torch.allclose(still, moving, atol=1e-4)
    assert not torch.allclose(moving, back, atol=1e-4)


def test_a_saved_model_still_reads_clips(built: Any, tmp_path: Path) -> None:
    model, processor = built
    model.save_pretrained(tmp_path)
    again = IsthmusForConditionalGeneration.from_pretrained(tmp_path).eval()
    assert torch.equal(logits(again, processor, (0, 1)), logits(model, processor, (0, 1)))


def test_a_lone_picture_stands_still_where_it_is_asked_about(built: Any, tmp_path: Path) -> None:
    model, processor = built
    tiny_image(0).save(tmp_path / "0.png")
    tiny_image(1).save(tmp_path / "1.png")

    def told(*images: int) -> tuple[float, ...]:
        message = Message("user", (*(ImagePart() for _ in images), Text("what")))
        paths = tuple(tmp_path / f"{number}.png" for number in images)
        prompt = Prompt(messages=(message,), images=paths)
        asked = Choose(id="a", prompt=prompt, choices=("a", "b"))
        return answer(model, processor, [asked])["a"].log_likelihoods

    assert told(0) == told(0, 0) != told(0, 1)
    question = Message("user", (ImagePart(), Text("what")))
    sample = Sample(
        id="a",
        messages=(question, Message("assistant", (Text("a"),))),
        images=(tmp_path / "0.png",),
    )
    length = len(Prompt(messages=(question,), images=sample.images).encode(processor, "a"))
    least = length + model.config.num_placeholders + 1  # a second frame, and an answer
    askable(processor, least, FRAMES)(sample)
    with pytest.raises(Fault, match=f"the prompt has {least - 1} tokens"):
        askable(processor, least - 1, FRAMES)(sample)
    talk = Conversation(model=model, processor=processor, max_new_tokens=2)
    talk.waiting.append(tiny_image(0))
    talk.ask("what")
    talk.ask("and now")
    assert [message.num_images for message in talk.messages] == [FRAMES, 0, 0, 0]
    assert len(talk.images) == FRAMES


def test_half_a_clip_is_refused(built: Any) -> None:
    with pytest.raises(ValueError, match=r"3 images came, and the model reads clips of 2 frames"):
        built[0].model.connect(built[0].model.encode_images(tiny_pixels(3)))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"clip_frames": 3}, "a clip takes 4 positions of the text, .* cannot share evenly"),
        ({"clip_frames": 0}, "clip_frames is 0; expected 1 or more"),
        ({"image_resize": "tiles", "max_tiles": 2}, "does not go with image_resize 'tiles'"),
    ],
)
def test_what_clips_do_not_go_with_is_refused(
    built: Any, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        IsthmusConfig.from_dict(built[0].config.to_dict() | changes)
