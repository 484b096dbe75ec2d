"""The architecture of a model that holds pictures and texts together, as saved in config.json."""

from typing import Any, cast

from isthmus import connectors
from isthmus.connectors.qformer import QFormer
from isthmus.modeling.configuration_vision import IsthmusVisionConfig, vision_fields
from isthmus.modeling.shim import ALIGNMENT_AUTO_MAP


class IsthmusAlignmentConfig(IsthmusVisionConfig):
    """Vision towers, a Q-Former with its text side, and the heads that compare and write.

    Paper: the first stage of BLIP-2, arXiv 2301.12597, section 3.1.

    Raises:
        ValueError: the Q-Former has no text side, or maps its queries to a language model, or a
            token lies beyond its vocabulary.
    """

    model_type = "isthmus_alignment"
    auto_classes = ALIGNMENT_AUTO_MAP

    qformer_config: dict[str, Any] | None = None
    """The fields of the Q-Former; by default those of BLIP-2's, with a text side."""
    d_embedding: int = 256
    """Width in which pictures and texts are compared."""
    temperature: float = 0.07
    """Initial temperature, by which similarities are divided; it is learned."""
    max_caption_tokens: int = 32
    """Longest text, its marks included; what is longer is cut."""
    pad_token_id: int = 0
    """Of the text side's vocabulary, like the next three."""
    cls_token_id: int = 101
    """Stands before a text that is compared or matched."""
    bos_token_id: int = 30522
    """`[DEC]`: stands before a caption that is written."""
    eos_token_id: int = 102
    """Ends every text."""

    def __post_init__(self, **kwargs: Any) -> None:
        """Resolves the Q-Former and checks that it fits."""
        super().__post_init__(**kwargs)
        given = {"text": {}} if self.qformer_config is None else dict(self.qformer_config)
        # Written out in full, so that a checkpoint outlives a change of a default.
        self.qformer_config = connectors.from_dict(
            {"kind": "qformer", **given, "project": False}
        ).to_dict()
        self._check()

    def _check(self) -> None:
        self.check_prefix("qformer", reads_prefix=True)
        text = self.qformer.text
        if text is None:
            raise ValueError(
                "the Q-Former has no text side, so that nothing could be compared with a picture; "
                "set qformer.text"
            )
        for name in ("pad_token_id", "cls_token_id", "bos_token_id", "eos_token_id"):
            if (value := getattr(self, name)) >= text.vocab_size:
                raise ValueError(
                    f"{name} is {value}, beyond the vocabulary of {text.vocab_size}; set "
                    "qformer.text.vocab_size"
                )
        if not 2 <= self.max_caption_tokens <= text.num_positions:
            raise ValueError(
                f"max_caption_tokens is {self.max_caption_tokens}; expected 2 to "
                f"{text.num_positions}, the positions of the Q-Former's text side"
            )
        if self.d_embedding < 1 or not self.temperature > 0:
            raise ValueError(
                f"d_embedding is {self.d_embedding} and temperature {self.temperature}; expected 1 "
                "or more, and more than 0"
            )
        if self.max_tiles is not None:
            raise ValueError(
                "image_resize is 'tiles', but a picture is compared as one; resize another way"
            )

    @classmethod
    def from_towers(
        cls, *, vision: str, qformer: QFormer.Config, tokens: dict[str, Any], **choices: Any
    ) -> "IsthmusAlignmentConfig":
        """Describes the model around pretrained towers, without loading their weights.

        Args:
            vision: local folder or hub id of a vision tower, or of a model that holds one.
            qformer: configuration of the Q-Former; its queries are handed on as they are.
            tokens: ids of the marks, see `caption_tokens`.
            **choices: layers, further towers and resizing, as of `vision_fields`; the rest are
                fields of this class.

        Raises:
            ValueError: a part cannot be used.
        """
        own = {n: choices.pop(n) for n in _OWN if n in choices}
        return cls(
            **vision_fields(vision, **choices), qformer_config=qformer.to_dict(), **tokens, **own
        )

    @property
    def qformer(self) -> QFormer.Config:
        """The Q-Former's typed configuration."""
        return cast("QFormer.Config", connectors.from_dict(self.qformer_config or {}))


_OWN = ("d_embedding", "temperature", "max_caption_tokens")
