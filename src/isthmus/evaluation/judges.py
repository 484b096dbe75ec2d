"""Who says how well captions fit their images: the matching head, the vectors, or two towers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, final, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

from isthmus.data.images import as_seen, opened
from isthmus.evaluation.mode import measured
from isthmus.evaluation.retrieval import extract_features, match_pairs
from isthmus.modeling import fingerprint
from isthmus.modeling.modeling_alignment import IsthmusForAlignment
from isthmus.modeling.processing_alignment import IsthmusAlignmentProcessor
from isthmus.modeling.weights import readable_weights


@runtime_checkable
class Judge(Protocol):
    """Scores captions."""

    def scores(
        self, images: Sequence[Path], texts: Sequence[str], pairs: Int[Tensor, "pairs 2"]
    ) -> list[float]:
        """Returns how well each pair of an image and a text fits; more is better.

        Args:
            images: files.
            texts: captions.
            pairs: numbers of an image and of a text.
        """
        ...

    @property
    def identity(self) -> dict[str, str]:
        """What decides the scores: the kind, and the fingerprint of the weights."""
        ...

    @property
    def name(self) -> str | None:
        """Folder or hub id of the model; None or empty where it came from none."""
        ...


@final
@dataclass(frozen=True)
class Matching:
    """The logit of a match, less that of none.

    Paper: BLIP, arXiv 2201.12086, section 3.3.
    """

    model: IsthmusForAlignment
    processor: IsthmusAlignmentProcessor

    def scores(
        self, images: Sequence[Path], texts: Sequence[str], pairs: Int[Tensor, "pairs 2"]
    ) -> list[float]:
        """Matches each pair."""
        logits = match_pairs(self.model, self.processor, images=images, texts=texts, pairs=pairs)
        return (logits[:, 1] - logits[:, 0]).tolist()

    @property
    def identity(self) -> dict[str, str]:
        """As `Judge`."""
        return {"by": "match", "weights": fingerprint.of_weights(self.model.state_dict())}

    @property
    def name(self) -> str | None:
        """As `Judge`."""
        return self.model.name_or_path


@final
@dataclass(frozen=True)
class Similarity:
    """The cosine of the nearest query with the text."""

    model: IsthmusForAlignment
    processor: IsthmusAlignmentProcessor

    def scores(
        self, images: Sequence[Path], texts: Sequence[str], pairs: Int[Tensor, "pairs 2"]
    ) -> list[float]:
        """Compares each pair."""
        found = extract_features(self.model, self.processor, images=images, texts=texts)
        return found.similarities()[pairs[:, 0], pairs[:, 1]].tolist()

    @property
    def identity(self) -> dict[str, str]:
        """As `Judge`."""
        return {"by": "similarity", "weights": fingerprint.of_weights(self.model.state_dict())}

    @property
    def name(self) -> str | None:
        """As `Judge`."""
        return self.model.name_or_path


@final
@dataclass(frozen=True)
class TwoTowers:
    """The cosine of the two towers of a CLIP or a SigLIP.

    Paper: BLIP-2, arXiv 2301.12597, section 3.4, ranks captions by CLIP ViT-L/14.
    """

    model: Any
    """Of transformers, with `get_image_features` and `get_text_features`."""
    image_processor: Any
    tokenizer: Any

    @classmethod
    def load(cls, name: str) -> "TwoTowers":
        """Loads a published model.

        Args:
            name: local folder or hub id.

        Raises:
            ValueError: it has no two towers, or no processor beside it.
        """
        with readable_weights(name):
            model = AutoModel.from_pretrained(name).eval()
        if not all(hasattr(model, f"get_{side}_features") for side in ("image", "text")):
            raise ValueError(
                f"{name!r} is a {type(model).__name__}; expected a model with an image tower and a "
                "text tower, such as CLIP or SigLIP"
            )
        try:
            images = AutoImageProcessor.from_pretrained(name, backend="pil")
            tokenizer = AutoTokenizer.from_pretrained(name)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{name!r} holds no image processor or no tokenizer ({error}); save both beside "
                "the model with save_pretrained"
            ) from error
        return cls(model, images, tokenizer)

    def scores(
        self, images: Sequence[Path], texts: Sequence[str], pairs: Int[Tensor, "pairs 2"]
    ) -> list[float]:
        """Compares each pair."""
        with measured(self.model):
            seen = _unit(self.model.get_image_features(**self._pixels(images)))
            read = _unit(self.model.get_text_features(**self._words(texts)))
        return (seen[pairs[:, 0]] * read[pairs[:, 1]]).sum(-1).tolist()

    @property
    def identity(self) -> dict[str, str]:
        """As `Judge`."""
        return {"by": "two towers", "weights": fingerprint.of_weights(self.model.state_dict())}

    @property
    def name(self) -> str | None:
        """As `Judge`."""
        return self.model.name_or_path

    def _pixels(self, paths: Sequence[Path]) -> Any:
        pictures = []
        for path in paths:
            with opened(path, f"the image {path}") as image:
                pictures.append(as_seen(image))
        made = self.image_processor(images=pictures, return_tensors="pt")
        return made.to(self.model.device, self.model.dtype)

    def _words(self, texts: Sequence[str]) -> Any:
        # SigLIP has learned from texts padded to the full length, and masks nothing.
        padding = "max_length" if self.model.config.model_type.startswith("siglip") else True
        return self.tokenizer(
            list(texts),
            padding=padding,
            truncation=True,
            max_length=self.model.config.text_config.max_position_embeddings,
            return_tensors="pt",
        ).to(self.model.device)


def _unit(given: Any) -> Tensor:
    """Returns vectors of length one, out of whatever the library hands them in."""
    vectors = given if isinstance(given, Tensor) else given.pooler_output
    return torch.nn.functional.normalize(vectors.float(), dim=-1)
