"""A detector of transformers finds each phrase by itself, and tells boxes in pixels."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2Processor,
    OwlViTConfig,
    OwlViTForObjectDetection,
    OwlViTProcessor,
)
from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil
from transformers.models.owlvit.image_processing_pil_owlvit import OwlViTImageProcessorPil

from isthmus.evaluation.owl import OwlDetector
from tests.tiny import save_language, tiny_image
from tests.tiny_alignment import VOCAB, text_tokenizer

CLASSES: dict[str, Any] = {
    "owlvit": (OwlViTConfig, OwlViTForObjectDetection, OwlViTProcessor, OwlViTImageProcessorPil),
    "owlv2": (Owlv2Config, Owlv2ForObjectDetection, Owlv2Processor, Owlv2ImageProcessorPil),
}
SIDE = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 4}
PHRASES = ["a red star", "a circle", "a green square over a blue circle and a star under a star"]


def save_owl(folder: Path, family: str) -> Any:
    """A random detector of few places; its texts have 9 tokens at most."""
    config, model_class, processor, image_processor = CLASSES[family]
    torch.manual_seed(0)
    model = model_class(
        config(
            text_config={
                **SIDE,
                "vocab_size": VOCAB,
                "num_hidden_layers": 2,
                "max_position_embeddings": 9,
                "pad_token_id": 0,
                "bos_token_id": 2,
                "eos_token_id": 3,
            },
            vision_config={**SIDE, "num_hidden_layers": 2, "image_size": 32, "patch_size": 8},
            projection_dim=16,
        )
    ).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    made = processor(image_processor(size={"height": 32, "width": 32}), text_tokenizer())
    made.save_pretrained(folder)
    return model


@pytest.mark.parametrize("family", CLASSES)
def test_each_phrase_is_found_as_if_it_were_asked_alone(family: str, tmp_path: Path) -> None:
    model = save_owl(tmp_path / family, family)
    image = tmp_path / "a.png"
    tiny_image(3, width=60, height=40).save(image)
    detector = OwlDetector(str(tmp_path / family), least_score=0.4)
    found = detector.detect(image, PHRASES)
    for phrase, boxes in zip(PHRASES, found, strict=True):
        (alone,) = detector.detect(image, [phrase])
        assert [each.score for each in alone] == pytest.approx([b.score for b in boxes], abs=1e-5)
        for one, other in zip(alone, boxes, strict=True):
            assert one.box == pytest.approx(other.box, abs=1e-3)
    assert any(found)
    assert all(each.score > 0.4 for boxes in found for each in boxes)
    # Half of a picture twice as wide is at the same share of it.
    with torch.no_grad():
        processor = CLASSES[family][2].from_pretrained(tmp_path / family)
        inputs = processor(
            text=[PHRASES[:1]],
            images=tiny_image(3, width=60, height=40),
            return_tensors="pt",
            padding=True,
        )
        out = model(**inputs)
    scores = out.logits[0, :, 0].sigmoid()
    side = (60, 60) if family == "owlv2" else (60, 40)  # it pads pictures to squares
    boxes = out.pred_boxes[0][scores > 0.4]
    centres = [((b.box[0] + b.box[2]) / 2, (b.box[1] + b.box[3]) / 2) for b in found[0]]
    expected = (boxes[:, :2] * torch.tensor(side)).tolist()
    assert [pytest.approx(each, abs=1e-3) for each in expected] == centres


def test_it_is_known_by_its_weights_and_other_families_are_refused(tmp_path: Path) -> None:
    model = save_owl(tmp_path / "owl", "owlvit")
    first = OwlDetector(str(tmp_path / "owl")).identity
    assert first == OwlDetector(str(tmp_path / "owl")).identity
    assert first != OwlDetector(str(tmp_path / "owl"), least_score=0.3).identity
    model.box_head.dense0.bias.data += 1
    model.save_pretrained(tmp_path / "owl")
    assert first != OwlDetector(str(tmp_path / "owl")).identity
    with pytest.raises(ValueError, match="is a 'llama'; expected owlvit or owlv2"):
        OwlDetector(save_language(tmp_path / "language"))
    with pytest.raises(ValueError, match="there is no folder"):
        OwlDetector(str(tmp_path / "absent/at/all"))
