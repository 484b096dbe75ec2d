"""The processor: images and text to what the model reads, and conversations to both."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, no_type_check

import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor
from transformers import AutoTokenizer, BatchFeature, PreTrainedTokenizerBase, ProcessorMixin
from transformers.processing_utils import MultiModalData

from isthmus.data.images import as_seen
from isthmus.geometry.resize import Resize, ResizeStrategy
from isthmus.language.tokenizer import IMAGE_TOKEN, load_tokenizer, token_id
from isthmus.modeling.configuration_isthmus import IsthmusConfig
from isthmus.modeling.message_parts import as_text, images_of, instructions_of
from isthmus.modeling.pictures import image_processor_for, pictures, resize_of, views_of
from isthmus.modeling.shim import AUTO_MAP, write_shim

QFORMER_TOKENIZER = "qformer_tokenizer"
"""Folder in a checkpoint that holds the tokenizer of a connector that reads instructions."""


class IsthmusProcessor(ProcessorMixin):
    """Resizes images to bytes, and puts as many placeholders as an image has visual tokens.

    Pixels leave it as they are, 0 to 255: each tower of a model normalises for itself. A picture in
    tiles becomes several images.
    """

    image_token: str
    image_token_id: int
    num_image_tokens: int
    is_encoder_decoder: bool
    image_resize: ResizeStrategy
    max_tiles: int | None
    max_instruction: int | None
    qformer_tokenizer: PreTrainedTokenizerBase | None = None
    """Of a connector that reads what is asked about an image."""

    @no_type_check  # transformers reads the names of the arguments off this very function.
    def __init__(
        self,
        image_processor=None,
        tokenizer=None,
        chat_template=None,
        image_token=IMAGE_TOKEN,
        num_image_tokens=1,
        image_resize="naive",
        max_tiles=None,
        max_instruction=None,
        is_encoder_decoder=False,
    ) -> None:
        """Takes the parts; `for_model` and `from_towers` make them.

        Args:
            image_processor: holds the size of an image and the interpolation.
            tokenizer: the language model's own, which knows the placeholder.
            chat_template: the tokenizer's own by default.
            image_token: text of the placeholder.
            num_image_tokens: positions that an image takes in the text.
            image_resize: how a picture of any shape is brought to the size.
            max_tiles: most tiles of one picture beside the view of the whole.
            max_instruction: longest instruction that the connector reads, tokens; None where it
                reads none.
            is_encoder_decoder: whether the language model reads with an encoder and writes with a
                decoder.
        """
        self.is_encoder_decoder = is_encoder_decoder
        self.image_resize, self.max_tiles = image_resize, max_tiles
        self.max_instruction = max_instruction
        self.image_token = image_token
        self.image_token_id = token_id(tokenizer, image_token)
        self.num_image_tokens = num_image_tokens
        super().__init__(
            image_processor, tokenizer, chat_template=chat_template or tokenizer.chat_template
        )

    @classmethod
    def for_model(
        cls,
        config: IsthmusConfig,
        tokenizer: PreTrainedTokenizerBase,
        qformer_tokenizer: PreTrainedTokenizerBase | None = None,
    ) -> "IsthmusProcessor":
        """Returns the processor that fits a model.

        Args:
            config: of the model.
            tokenizer: the language model's, with the placeholder (see `load_tokenizer`).
            qformer_tokenizer: of a connector that reads instructions.

        Raises:
            ValueError: the tokenizer gives the placeholder another id than the model, or the
                connector reads instructions and has no tokenizer that fits, or the other way
                round.
        """
        if (found := token_id(tokenizer, config.image_token)) != config.image_token_id:
            raise ValueError(
                f"the tokenizer gives {config.image_token!r} the id {found}, the model expects "
                f"{config.image_token_id}; use the tokenizer the model was built with"
            )
        if config.is_encoder_decoder and tokenizer.eos_token_id is None:
            raise ValueError(
                "the tokenizer names no end token, so that the decoder would never learn to end an "
                "answer; set tokenizer.eos_token and save it again"
            )
        side = config.connector.instruction_side
        if (qformer_tokenizer is None) != (side is None):
            given = "no tokenizer" if qformer_tokenizer is None else "a tokenizer"
            reads = "reads no instruction" if side is None else "reads instructions"
            raise ValueError(
                f"the connector {config.connector.kind!r} {reads} as it is set, and came with "
                f"{given} for them; set qformer.text and qformer_tokenizer together, or neither"
            )
        if side and qformer_tokenizer and len(qformer_tokenizer) > side.vocab_size:
            raise ValueError(
                f"qformer_tokenizer has {len(qformer_tokenizer)} entries, and the connector a "
                f"vocabulary of {side.vocab_size}; set qformer.text.vocab_size"
            )
        processor = cls(
            image_processor=image_processor_for(config),
            tokenizer=tokenizer,
            image_token=config.image_token,
            num_image_tokens=config.num_placeholders,
            image_resize=config.image_resize,
            max_tiles=config.max_tiles,
            max_instruction=side and side.num_positions,
            is_encoder_decoder=config.is_encoder_decoder,
        )
        processor.qformer_tokenizer = qformer_tokenizer
        return processor

    @classmethod
    def from_towers(
        cls,
        *,
        vision: str,
        language: str,
        image_token: str = IMAGE_TOKEN,
        chat_template: str | None = None,
        qformer_tokenizer: str | None = None,
        **choices: Any,
    ) -> "IsthmusProcessor":
        """Returns the processor of the model that the same arguments build.

        Args:
            vision: local folder or hub id of a vision tower, or of a model that holds one.
            language: local folder or hub id of a language model.
            image_token: text of the placeholder.
            chat_template: name or file of one in place of the tokenizer's own.
            qformer_tokenizer: folder or hub id of the tokenizer of a connector that reads
                instructions.
            **choices: connector, fusion and whatever else `IsthmusConfig.from_towers` takes.

        Raises:
            ValueError: a part cannot be used.
        """
        config = IsthmusConfig.from_towers(
            vision=vision, language=language, image_token=image_token, **choices
        )
        words = load_qformer_tokenizer(qformer_tokenizer) if qformer_tokenizer else None
        tokenizer = load_tokenizer(
            language, image_token, chat_template, is_encoder_decoder=config.is_encoder_decoder
        )
        return cls.for_model(config, tokenizer, words)

    @property
    def resize(self) -> Resize:
        """How a picture is brought to the size of the model's pixels."""
        return resize_of(self.image_processor, self.image_resize, self.max_tiles)

    def num_views(self, width: int, height: int) -> int:
        """Returns as how many images a picture of this size is shown, upright and in pixels."""
        return self.resize.num_views(width, height)

    def views(self, image: Image.Image) -> UInt8[Tensor, "images 3 height width"]:
        """Returns the views of a picture as bytes: turned upright, in colour, resized."""
        return views_of(image, self.resize, self.image_processor)

    def asked(self, instructions: Sequence[str]) -> dict[str, Tensor]:
        """Returns what the connector is told beside the images; nothing where it reads no words.

        Args:
            instructions: what is asked about each image.
        """
        if self.qformer_tokenizer is None or not instructions:
            return {}
        encoded = self.qformer_tokenizer(
            list(instructions),
            padding=True,
            truncation=True,
            max_length=self.max_instruction,
            return_tensors="pt",
        )
        return {f"qformer_{name}": encoded[name] for name in ("input_ids", "attention_mask")}

    def __call__(
        self,
        images: Any = None,
        text: Any = None,
        *args: Any,
        instructions: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """Returns what the model reads of images and texts.

        Args:
            images: of all texts in reading order.
            text: one or several, with a placeholder for each image.
            *args: as of `ProcessorMixin`.
            instructions: what is asked about each image, for a connector that reads it; by default
                the text that shows it.
            **kwargs: as of `ProcessorMixin`.
        """
        inputs = super().__call__(images, text, *args, **kwargs)
        if self.qformer_tokenizer is None or images is None:
            return inputs
        if instructions is None:
            texts = [text] if isinstance(text, str) else list(text or ())
            words = [(t.replace(self.image_token, ""), t.count(self.image_token)) for t in texts]
            instructions = [line.strip() for line, count in words for _ in range(count)]
        counts = [self.num_views(*as_seen(picture).size) for picture in pictures(images)]
        repeated = [line for line, n in zip(instructions, counts, strict=True) for _ in range(n)]
        inputs.update(self.asked(repeated))
        return inputs

    def replace_image_token(self, image_inputs: dict[str, Any], image_idx: int, **_: Any) -> str:
        """Returns the placeholders of one image in one view."""
        return self.image_token * self.num_image_tokens

    def apply_chat_template(  # type: ignore[override]
        self,
        conversation: list[Any],
        chat_template: str | None = None,
        processor_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Renders conversations whose messages hold typed parts, with the tokenizer's template.

        Templates of language models put text together and know no image parts. Unless the
        template names the placeholder itself, each message becomes one text beforehand, with the
        placeholder where an image stands and nothing added around it.

        Args:
            conversation: messages, or a list of such conversations.
            chat_template: instead of the tokenizer's own.
            processor_kwargs: for the call of the processor; `images` may stand here.
            **kwargs: as of `ProcessorMixin.apply_chat_template`.
        """
        template = self._resolve_chat_template(chat_template)
        if self.image_token not in template:
            conversations, is_batched = self._normalize_conversations(conversation)
            images = [images_of(messages) for messages in conversations]
            flat = [as_text(messages, self.image_token) for messages in conversations]
            conversation = flat if is_batched else flat[0]
            if any(images):
                given = {"images": images if is_batched else images[0]}
                processor_kwargs = {**given, **(processor_kwargs or {})}
                if self.qformer_tokenizer is not None and kwargs.get("tokenize"):
                    words = [line for each in conversations for line in instructions_of(each)]
                    processor_kwargs.setdefault("instructions", words)
        return super().apply_chat_template(
            conversation, chat_template=chat_template, processor_kwargs=processor_kwargs, **kwargs
        )

    def save_pretrained(
        self, save_directory: str | PathLike[str], push_to_hub: bool = False, **kwargs: Any
    ) -> list[str]:
        """Saves processor and tokenizer, and the shim that lets stock tools load the folder."""
        self.auto_map = {"AutoProcessor": AUTO_MAP["AutoProcessor"]}
        write_shim(save_directory)
        if self.qformer_tokenizer is not None:
            self.qformer_tokenizer.save_pretrained(Path(save_directory) / QFORMER_TOKENIZER)
        return super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, pretrained_model_name_or_path: str | PathLike[str], **kwargs: Any
    ) -> "IsthmusProcessor":
        """Loads what `save_pretrained` wrote, the connector's tokenizer included."""
        processor = super().from_pretrained(pretrained_model_name_or_path, **kwargs)
        if processor.max_instruction is not None:
            processor.qformer_tokenizer = load_qformer_tokenizer(
                str(pretrained_model_name_or_path), subfolder=QFORMER_TOKENIZER
            )
        return processor

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoProcessor") -> None:
        """Does nothing: checkpoints carry the shim, never a copy of this file."""

    def _process_images(self, images: Any, **kwargs: Any) -> tuple[dict[str, Tensor], list[str]]:
        if ignored := sorted(set(kwargs) - {"return_tensors", "device"}):
            raise ValueError(
                f"images cannot be processed with {', '.join(ignored)}: the model was built for "
                f"{self.image_resize} views of {' x '.join(map(str, self.resize.size))} pixels, "
                "not normalised; resize images beforehand"
            )
        shown = [self.views(picture) for picture in pictures(images)]
        tokens = self.replace_image_token({}, 0)
        pixels = torch.cat(shown) if shown else torch.empty(0)
        return {"pixel_values": pixels}, [tokens * len(each) for each in shown]

    def _get_num_multimodal_tokens(
        self, image_sizes: list[Any] | None = None, **kwargs: Any
    ) -> MultiModalData:
        counts = [self.num_views(width, height) for height, width in image_sizes or []]
        return MultiModalData(
            num_image_tokens=[self.num_image_tokens * count for count in counts],
            num_image_patches=counts,
        )


def load_qformer_tokenizer(name: str, *, subfolder: str = "") -> PreTrainedTokenizerBase:
    """Returns the tokenizer of a connector that reads instructions.

    Args:
        name: local folder or hub id.
        subfolder: where it lies there.

    Raises:
        ValueError: there is none.
    """
    try:
        return AutoTokenizer.from_pretrained(name, subfolder=subfolder)
    except (OSError, ValueError) as error:
        place = f"{name}/{subfolder}" if subfolder else name
        raise ValueError(
            f"{place!r} holds no tokenizer for the instructions that the Q-Former reads ({error}); "
            "expected that of the BERT it was trained with, such as bert-base-uncased; save it "
            "there with tokenizer.save_pretrained"
        ) from error
