"""The processor of a model that holds pictures and texts together."""

from collections.abc import Sequence
from os import PathLike
from typing import Any, no_type_check

import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor
from transformers import AutoTokenizer, BatchFeature, PreTrainedTokenizerBase, ProcessorMixin

from isthmus.geometry.resize import Resize, ResizeStrategy
from isthmus.modeling.configuration_alignment import IsthmusAlignmentConfig
from isthmus.modeling.pictures import image_processor_for, pictures, resize_of, views_of
from isthmus.modeling.shim import ALIGNMENT_AUTO_MAP, write_shim

DECODER_TOKEN = "[DEC]"
"""Stands before a caption that is written; added to a BERT's vocabulary that has it not."""


class IsthmusAlignmentProcessor(ProcessorMixin):
    """Resizes images to bytes, and puts texts between the marks of a BERT."""

    image_resize: ResizeStrategy
    max_caption_tokens: int

    @no_type_check  # transformers reads the names of the arguments off this very function.
    def __init__(
        self, image_processor=None, tokenizer=None, image_resize="naive", max_caption_tokens=32
    ) -> None:
        """Takes the parts; `for_model` makes them.

        Args:
            image_processor: holds the size of an image and the interpolation.
            tokenizer: of the Q-Former's text side.
            image_resize: how a picture of any shape is brought to the size.
            max_caption_tokens: longest text, its marks included.
        """
        self.image_resize, self.max_caption_tokens = image_resize, max_caption_tokens
        # Whatever the tokenizer was saved with: the first place of a text is compared.
        tokenizer.padding_side = tokenizer.truncation_side = "right"
        super().__init__(image_processor, tokenizer)

    @classmethod
    def for_model(
        cls, config: IsthmusAlignmentConfig, tokenizer: PreTrainedTokenizerBase
    ) -> "IsthmusAlignmentProcessor":
        """Returns the processor that fits a model.

        Raises:
            ValueError: the tokenizer is of another vocabulary than the model.
        """
        expected = {name: getattr(config, name) for name in token_ids(tokenizer)}
        if (found := token_ids(tokenizer)) != expected:
            raise ValueError(
                f"the tokenizer's marks are {found}, the model expects {expected}; use the "
                "tokenizer that the model was built with"
            )
        return cls(
            image_processor=image_processor_for(config),
            tokenizer=tokenizer,
            image_resize=config.image_resize,
            max_caption_tokens=config.max_caption_tokens,
        )

    @property
    def resize(self) -> Resize:
        """How a picture is brought to the size of the model's pixels."""
        return resize_of(self.image_processor, self.image_resize, self.max_tiles)

    @property
    def max_tiles(self) -> None:
        """None: a picture has one view."""
        return

    def num_views(self, width: int, height: int) -> int:
        """Returns one: a picture is compared as a whole."""
        return 1

    def views(self, image: Image.Image) -> UInt8[Tensor, "images 3 height width"]:
        """Returns the one view of a picture as bytes: turned upright, in colour, resized."""
        return views_of(image, self.resize, self.image_processor)

    def texts(self, lines: Sequence[str]) -> dict[str, Tensor]:
        """Returns `input_ids` and `attention_mask` of texts, padded on the right.

        What is longer than `max_caption_tokens` is cut, as in the published code.

        Raises:
            ValueError: there is no text.
        """
        if not lines:
            raise ValueError("there are no texts; expected one or more")
        encoded = self.tokenizer(
            list(lines),
            padding=True,
            truncation=True,
            max_length=self.max_caption_tokens,
            return_tensors="pt",
        )
        return {name: encoded[name] for name in ("input_ids", "attention_mask")}

    def num_cut(self, lines: Sequence[str]) -> int:
        """Returns how many texts are longer than what is read of them."""
        encoded = self.tokenizer(list(lines), return_length=True, verbose=False)
        return sum(length > self.max_caption_tokens for length in encoded["length"])

    def __call__(self, images: Any = None, text: Any = None, **_: Any) -> BatchFeature:
        """Returns what the model compares.

        Args:
            images: one or several.
            text: one or several.
            **_: as of `ProcessorMixin`; nothing depends on them.
        """
        inputs: dict[str, Tensor] = {}
        if images is not None:
            inputs["pixel_values"] = torch.cat([self.views(each) for each in pictures(images)])
        if text is not None:
            inputs |= self.texts([text] if isinstance(text, str) else text)
        return BatchFeature(inputs)

    def save_pretrained(
        self, save_directory: str | PathLike[str], push_to_hub: bool = False, **kwargs: Any
    ) -> list[str]:
        """Saves processor and tokenizer, and the shim that lets stock tools load the folder."""
        self.auto_map = {"AutoProcessor": ALIGNMENT_AUTO_MAP["AutoProcessor"]}
        write_shim(save_directory)
        return super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoProcessor") -> None:
        """Does nothing: checkpoints carry the shim, never a copy of this file."""


def load_text_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Returns the tokenizer of a BERT, with the mark before captions, which is added if need be.

    Args:
        name: local folder or hub id.

    Raises:
        ValueError: there is none, or it lacks the marks of a BERT.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{name!r} holds no tokenizer for the Q-Former's texts ({error}); name the folder or "
            "hub id of a BERT, such as bert-base-uncased"
        ) from error
    absent = [n for n in ("pad", "cls", "sep") if getattr(tokenizer, f"{n}_token_id") is None]
    if absent:
        raise ValueError(
            f"the tokenizer of {name!r} has no {absent[0]}_token; the Q-Former's texts stand "
            "between the marks of a BERT, so name the folder or hub id of one"
        )
    if tokenizer.bos_token_id is None:
        tokenizer.add_special_tokens({"bos_token": DECODER_TOKEN})
    return tokenizer


def token_ids(tokenizer: Any) -> dict[str, int]:
    """Returns the ids of the marks, by the names of `IsthmusAlignmentConfig`."""
    return {
        "pad_token_id": int(tokenizer.pad_token_id),
        "cls_token_id": int(tokenizer.cls_token_id),
        "bos_token_id": int(tokenizer.bos_token_id),
        "eos_token_id": int(tokenizer.sep_token_id),
    }
