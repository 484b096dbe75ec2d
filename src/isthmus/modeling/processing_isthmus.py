"""The processor: images and text to what the model reads, and conversations to both."""

from os import PathLike
from typing import Any, no_type_check

import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor
from transformers import PreTrainedTokenizerBase, ProcessorMixin
from transformers.image_transforms import to_pil_image
from transformers.image_utils import make_flat_list_of_images
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil
from transformers.processing_utils import MultiModalData

from isthmus.connectors import ConnectorConfig
from isthmus.fusion import FusionConfig
from isthmus.language.tokenizer import IMAGE_TOKEN, load_tokenizer, token_id
from isthmus.modeling.configuration_isthmus import PENULTIMATE, IsthmusConfig
from isthmus.modeling.shim import AUTO_MAP, write_shim
from isthmus.vision.preprocessing import stretch

IMAGE_SOURCES = ("image", "url", "path", "base64")
"""Keys under which an image part of a message holds its image."""


class IsthmusProcessor(ProcessorMixin):
    """Resizes images to bytes, and puts as many placeholders as an image has visual tokens.

    Pixels leave it as they are, 0 to 255: each tower of a model normalises for itself.
    """

    image_token: str
    image_token_id: int
    num_image_tokens: int

    @no_type_check  # transformers reads the names of the arguments off this very function.
    def __init__(
        self,
        image_processor=None,
        tokenizer=None,
        chat_template=None,
        image_token=IMAGE_TOKEN,
        num_image_tokens=1,
    ) -> None:
        """Takes the parts; `for_model` and `from_towers` make them.

        Args:
            image_processor: holds the size of an image and the interpolation.
            tokenizer: the language model's own, which knows the placeholder.
            chat_template: the tokenizer's own by default.
            image_token: text of the placeholder.
            num_image_tokens: positions that an image takes in the text.
        """
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
    ) -> "IsthmusProcessor":
        """Returns the processor that fits a model.

        Args:
            config: of the model.
            tokenizer: the language model's, with the placeholder (see `load_tokenizer`).

        Raises:
            ValueError: the tokenizer gives the placeholder another id than the model.
        """
        if (found := token_id(tokenizer, config.image_token)) != config.image_token_id:
            raise ValueError(
                f"the tokenizer gives {config.image_token!r} the id {found}, the model expects "
                f"{config.image_token_id}; use the tokenizer the model was built with"
            )
        size = {"height": config.image_size, "width": config.image_size}
        image_processor = ViTImageProcessorPil(
            size=size,
            resample=config.image_resample,
            do_resize=True,
            do_rescale=False,
            do_normalize=False,
            do_convert_rgb=True,
        )
        return cls(
            image_processor=image_processor,
            tokenizer=tokenizer,
            image_token=config.image_token,
            num_image_tokens=config.num_placeholders,
        )

    @classmethod
    def from_towers(
        cls,
        *,
        vision: str,
        language: str,
        connector: ConnectorConfig | str = "mlp",
        fusion: FusionConfig | str = "inline",
        vision_layer: int = PENULTIMATE,
        image_token: str = IMAGE_TOKEN,
        chat_template: str | None = None,
    ) -> "IsthmusProcessor":
        """Returns the processor of the model that the same arguments build.

        Args:
            vision: local folder or hub id of a vision tower, or of a model that holds one.
            language: local folder or hub id of a causal language model.
            connector: configuration of the connector, or its kind.
            fusion: configuration of the fusion, or its kind.
            vision_layer: which layer's output is used, see `VisionTower`.
            image_token: text of the placeholder.
            chat_template: name or file of one in place of the tokenizer's own.

        Raises:
            ValueError: a part cannot be used.
        """
        config = IsthmusConfig.from_towers(
            vision=vision,
            language=language,
            connector=connector,
            fusion=fusion,
            vision_layer=vision_layer,
            image_token=image_token,
        )
        return cls.for_model(config, load_tokenizer(language, image_token, chat_template))

    @property
    def image_size(self) -> int:
        """Height and width of an image, pixels."""
        return int(self.image_processor.size["height"])

    def pixels(self, image: Image.Image) -> UInt8[Tensor, "3 height width"]:
        """Returns an image as bytes: turned upright, in colour, stretched to the model's size."""
        resample = int(self.image_processor.resample)
        return stretch(image, image_size=self.image_size, resample=resample)

    def replace_image_token(self, image_inputs: dict[str, Any], image_idx: int, **_: Any) -> str:
        """Returns the placeholders of one image."""
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
            images = [_images_of(messages) for messages in conversations]
            flat = [self._as_text(messages) for messages in conversations]
            conversation = flat if is_batched else flat[0]
            if any(images):
                given = {"images": images if is_batched else images[0]}
                processor_kwargs = {**given, **(processor_kwargs or {})}
        return super().apply_chat_template(
            conversation, chat_template=chat_template, processor_kwargs=processor_kwargs, **kwargs
        )

    def save_pretrained(
        self, save_directory: str | PathLike[str], push_to_hub: bool = False, **kwargs: Any
    ) -> list[str]:
        """Saves processor and tokenizer, and the shim that lets stock tools load the folder."""
        self.auto_map = {"AutoProcessor": AUTO_MAP["AutoProcessor"]}
        write_shim(save_directory)
        return super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoProcessor") -> None:
        """Does nothing: checkpoints carry the shim, never a copy of this file."""

    def _process_images(self, images: Any, **kwargs: Any) -> tuple[dict[str, Tensor], list[str]]:
        if ignored := sorted(set(kwargs) - {"return_tensors", "device"}):
            raise ValueError(
                f"images cannot be processed with {', '.join(ignored)}: the model was built for "
                f"squares of {self.image_size} pixels, not normalised; resize images beforehand"
            )
        flat: list[Any] = make_flat_list_of_images(images)  # type: ignore[assignment]
        rows = [i if isinstance(i, Image.Image) else to_pil_image(i) for i in flat]
        processed = {"pixel_values": torch.stack([self.pixels(image) for image in rows])}
        return processed, [self.replace_image_token(processed, i) for i in range(len(rows))]

    def _get_num_multimodal_tokens(
        self, image_sizes: list[Any] | None = None, **kwargs: Any
    ) -> MultiModalData:
        count = len(image_sizes or [])
        return MultiModalData(
            num_image_tokens=[self.num_image_tokens] * count, num_image_patches=[1] * count
        )

    def _as_text(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Returns the messages with one text each."""

        def text_of(part: dict[str, Any]) -> str:
            if part["type"] == "image":
                return self.image_token
            if part["type"] == "text":
                return part["text"]
            raise ValueError(
                f"a message holds a part of type {part['type']!r}; expected 'image' or 'text'"
            )

        return [
            message
            if not isinstance(message.get("content"), list)
            else {**message, "content": "".join(map(text_of, message["content"]))}
            for message in messages
        ]


def _images_of(messages: list[dict[str, Any]]) -> list[Any]:
    """Returns the images that the parts of a conversation hold, in reading order."""
    return [
        part[source]
        for message in messages
        if isinstance(message.get("content"), list)
        for part in message["content"]
        if part["type"] == "image"
        for source in IMAGE_SOURCES
        if source in part
    ]
