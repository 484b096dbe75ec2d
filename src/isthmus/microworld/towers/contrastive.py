"""The contrastive tower: a SigLIP vision transformer that learns from captions and region phrases.

Beside the usual contrast of whole picture and caption, each patch under a thing is held against the
thing's own phrase: a caption alone says too little about places. Half of the pictures are drawn in
colours without a name, of which no text tells: so a shape is learnt apart from its colours.
"""

from pathlib import Path
from random import Random
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import SiglipTextConfig, SiglipTextModel, SiglipVisionModel

from isthmus.microworld.tasks.caption import caption_text
from isthmus.microworld.towers.pixels import coverage, pictures
from isthmus.microworld.towers.preprocessing import save_image_processor
from isthmus.microworld.towers.pretrain import Pretraining
from isthmus.microworld.towers.probe import attribute_probes
from isthmus.microworld.towers.regions import regions, told
from isthmus.microworld.towers.siglip_start import VisionStart
from isthmus.microworld.towers.vocabulary import microworld_tokenizer

_IMAGES, _TEXT_DEPTH, _MAX_TOKENS = 64, 2, 64
_PATCHES = 3
"""How many patches of a thing are held against its phrase, each by itself."""
_NAMELESS_SHARE = 0.5


@final
class _TwoTowers(nn.Module):
    """Vision and text towers; a temperature and a bias for pictures, and another for regions."""

    def __init__(self, vision: SiglipVisionModel, *, vocabulary: int, pad_token_id: int) -> None:
        super().__init__()
        self.vision = vision
        width = vision.config.hidden_size
        self.text = SiglipTextModel(
            SiglipTextConfig(
                vocab_size=vocabulary,
                hidden_size=width,
                intermediate_size=vision.config.intermediate_size,
                num_hidden_layers=_TEXT_DEPTH,
                num_attention_heads=vision.config.num_attention_heads,
                max_position_embeddings=_MAX_TOKENS,
                pad_token_id=pad_token_id,
                bos_token_id=None,
                eos_token_id=None,
            )
        )
        for tower in (self.vision, self.text):
            tower.set_attn_implementation("eager")  # the fastest backward at this size on a CPU
        self.region_head = nn.Linear(width, width)
        self.log_scale = nn.Parameter(torch.full((2,), 2.3))
        self.bias = nn.Parameter(torch.full((2,), -6.0))

    def sigmoid_loss(self, level: int, image: Tensor, text: Tensor, same: Tensor) -> Tensor:
        """Paper: 2303.15343, equation 1; a picture may have several true texts."""
        image, text = F.normalize(image.float(), dim=-1), F.normalize(text.float(), dim=-1)
        logits = image @ text.T * self.log_scale[level].exp() + self.bias[level]
        return -F.logsigmoid(torch.where(same, logits, -logits)).sum() / len(image)


@final
class Contrastive(Pretraining):
    """SigLIP on generated pictures and their regions.

    The vision tower stands still for the first `locked` share of the steps: one that has learnt
    is not led astray by a text tower that has not.

    Paper: 2111.07991 (LiT), where it stands still to the end.
    """

    learning_rate = 2e-3

    def __init__(
        self, name: str, start: VisionStart, *, steps: int, seed: int, locked: float = 0.0
    ) -> None:
        self.name, self.steps, self.seed, self.locked = name, steps, seed, locked
        self.tokenizer = microworld_tokenizer(chat=False)
        torch.manual_seed(seed)
        self.model = _TwoTowers(
            start(),
            vocabulary=len(self.tokenizer),
            pad_token_id=self.tokenizer.pad_token_id,
        )

    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Sigmoid loss of pictures with captions plus that of regions with phrases."""
        rng = Random(f"contrastive/{self.seed}/{step}")
        batch = pictures("train", _IMAGES, rng, nameless_share=_NAMELESS_SHARE)
        things = regions(batch, rng)
        phrases = list({thing.phrase: thing for thing in things}.values())
        with torch.set_grad_enabled(step >= self.locked * self.steps):
            vision = self.model.vision(pixel_values=batch.normalised())
        named = [i for i, nameless in enumerate(batch.nameless) if not nameless]
        captions = [caption_text(batch.scenes[i]) for i in named]
        whole = self.model.sigmoid_loss(
            0, vision.pooler_output[named], self._embed(captions), _same(captions)
        )
        # Each patch by itself, in proportion to what it holds of the thing: whoever reads the
        # tower later reads patches, not their mean.
        shares = coverage([thing.box for thing in things])
        drawn = torch.multinomial(shares, _PATCHES, replacement=True)
        where = torch.tensor([thing.picture for thing in things])[:, None]
        patches = self.model.region_head(vision.last_hidden_state[where, drawn]).flatten(0, 1)
        same = torch.tensor(told(things, phrases)).repeat_interleave(_PATCHES, 0)
        texts = self._embed([phrase.phrase for phrase in phrases])
        parts = self.model.sigmoid_loss(1, patches, texts, same)
        return whole + parts, {"pictures": whole.item(), "regions": parts.item()}

    def _embed(self, texts: list[str]) -> Tensor:
        """Text embeddings; every text ends with the end token, which the text tower pools."""
        rows = [
            [*encoding.ids[: _MAX_TOKENS - 1], self.tokenizer.eos_token_id]
            for encoding in self.tokenizer.backend_tokenizer.encode_batch(texts)
        ]
        length = max(map(len, rows))
        # SigLIP pools the last position, so the padding stands in front.
        pad = self.tokenizer.pad_token_id
        ids = torch.tensor([[pad] * (length - len(row)) + row for row in rows])
        return self.model.text(input_ids=ids, attention_mask=ids.ne(pad).long()).pooler_output

    def scores(self) -> dict[str, float]:
        """Linear probes on one patch of a test thing, for each attribute."""
        return attribute_probes(lambda pixels: self.model.vision(pixel_values=pixels)[0])

    def save(self, folder: Path) -> None:
        """Writes the vision half in fp16 with its image processor."""
        half = SiglipVisionModel(self.model.vision.config)
        half.load_state_dict(self.model.vision.state_dict())
        half.half().save_pretrained(folder)
        save_image_processor(folder)


def _same(texts: list[str]) -> Tensor:
    """Shape: bool (texts, texts), true where two are equal."""
    numbers = {text: i for i, text in enumerate(texts)}
    kinds = torch.tensor([numbers[text] for text in texts])
    return kinds[:, None] == kinds
