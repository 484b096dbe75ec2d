"""Q-Former: learned queries read the patches with a small BERT, and become the visual tokens.

The queries start the same for every image. In each layer they attend to each other, in every
second layer also to the patches, and a feed-forward part follows; all three are added to them, with
the norm behind the sum. Where the user's instruction is given, its words stand beside the queries
in self-attention, so the queries can look for what is asked. In the end the queries, not the words,
are mapped to the width of the language model.
"""

from dataclasses import dataclass
from typing import final

import torch
from einops import repeat
from jaxtyping import Float
from torch import Tensor, nn

from isthmus.axes import Instruction, Patches
from isthmus.connectors._initialization import STD, draw_matrices
from isthmus.connectors._qformer import BodySettings, KeysValues, QFormerBody
from isthmus.connectors._qformer_text import TextEmbeddings, TextSide
from isthmus.connectors.base import Connector, ConnectorConfig
from isthmus.pretrained import read_config


@final
class QFormer(Connector):
    """Reads the patches into a fixed number of queries.

    Paper: BLIP-2, arXiv 2301.12597, section 3.1; with an instruction, InstructBLIP, arXiv
    2305.06500.
    Shape: (images, patches, d_vision) -> (images, queries, d_text).
    Differs: queries start at N(0, 0.02), as in LAVIS; transformers starts them at zero, where all
    of them are the same and stay so. The norm of the patches, which LAVIS trains with the Q-Former
    and transformers counts to the tower, is part of the connector. The class token, which BLIP-2
    reads along with the patches, is read where `Patches` hold it (`vision_prefix`).
    """

    @final
    @dataclass(frozen=True, kw_only=True)
    class Config(ConnectorConfig):
        """Queries, and the widths and layers of the BERT that they pass."""

        num_queries: int = 32
        """Visual tokens per image."""
        depth: int = 12
        """Layers."""
        d_hidden: int = 768
        """Width of the queries."""
        num_heads: int = 12
        """Attention heads, which share the width."""
        d_ffn: int | None = None
        """Inner width of the feed-forward parts; four widths of the queries when None."""
        cross_attention_every: int = 2
        """The first of so many layers attends to the patches: 2 means layers 0, 2, 4 and so on."""
        dropout: float = 0.1
        """Share of zeroed attention weights and states in training."""
        initializer_range: float = STD
        """Standard deviation of fresh matrices. It is made for widths near 768; in a narrower body
        the patches hardly reach the queries at first, and a value near 1 / sqrt(width) helps."""
        norm_eps: float = 1e-12
        """Epsilon of the layer norms of the layers."""
        patch_norm_eps: float | None = 1e-5
        """Epsilon of a layer norm on the patches; None where there is no such norm."""
        text: TextSide | None = None
        """The side that reads an instruction; None where there is none."""
        project: bool = True
        """Whether a linear map brings the queries to the width of the language model."""

        def __post_init__(self) -> None:
            """Checks counts and shares.

            Raises:
                ValueError: a count is below one, the heads do not share the width evenly, or the
                    dropout is no share.
            """
            counts = ("num_queries", "depth", "d_hidden", "num_heads", "cross_attention_every")
            for name in counts:
                if (value := getattr(self, name)) < 1:
                    raise ValueError(f"qformer.{name} is {value}; expected 1 or more")
            if self.d_ffn is not None and self.d_ffn < 1:
                raise ValueError(f"qformer.d_ffn is {self.d_ffn}; expected 1 or more, or None")
            if self.d_hidden % self.num_heads:
                raise ValueError(
                    f"qformer.d_hidden is {self.d_hidden}; expected a multiple of "
                    f"qformer.num_heads, which is {self.num_heads}"
                )
            if not 0 <= self.dropout < 1:
                raise ValueError(
                    f"qformer.dropout is {self.dropout}; expected 0 or more, and less than 1"
                )

        def num_tokens(self, grid: tuple[int, int]) -> int:
            """Returns one token per query, whatever the grid."""
            return self.num_queries

        @property
        def reads_prefix(self) -> bool:
            """Returns true: queries attend to the class token as to any patch."""
            return True

        @property
        def instruction_side(self) -> TextSide | None:
            """Returns the side that reads an instruction, if there is one."""
            return self.text

        def body(self, d_vision: int) -> BodySettings:
            """Returns what the body is built from."""
            return BodySettings(
                d_vision=d_vision,
                d_hidden=self.d_hidden,
                d_ffn=4 * self.d_hidden if self.d_ffn is None else self.d_ffn,
                depth=self.depth,
                num_heads=self.num_heads,
                cross_attention_every=self.cross_attention_every,
                dropout=self.dropout,
                norm_eps=self.norm_eps,
                has_text=self.text is not None,
            )

    reads_masks = True
    config: Config

    def __init__(
        self, config: Config, *, d_vision: int, d_text: int, grid: tuple[int, int]
    ) -> None:
        """Builds the queries, the body and the text side; the grid does not matter to them.

        Raises:
            ValueError: the queries are handed on as they are, and are of another width than what
                reads them.
        """
        super().__init__()
        if not config.project and config.d_hidden != d_text:
            raise ValueError(
                f"qformer.d_hidden is {config.d_hidden} and what reads the queries {d_text} wide; "
                "without `project` both have to be equal: set qformer.project"
            )
        self.config = config
        self.patch_norm = (
            nn.Identity()
            if config.patch_norm_eps is None
            else nn.LayerNorm(d_vision, eps=config.patch_norm_eps)
        )
        self.queries = nn.Parameter(torch.empty(config.num_queries, config.d_hidden))
        self.text = None if config.text is None else TextEmbeddings(config.text, config.d_hidden)
        self.body = QFormerBody(config.body(d_vision))
        self.projection = nn.Linear(config.d_hidden, d_text) if config.project else nn.Identity()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws fresh weights, as BERT does."""
        super().reset_parameters()
        draw_matrices(self, self.config.initializer_range)
        nn.init.normal_(self.queries, std=STD)
        if self.text is not None:
            nn.init.normal_(self.text.words.weight, std=STD)
            nn.init.normal_(self.text.positions.weight, std=STD)

    def start_from(self, folder: str) -> None:
        """Fills body and text side with a BERT, as BLIP-2 does, or all with a `Blip2QFormerModel`.

        See `init_from_bert` and `init_from_blip2`, which know this class.
        """
        if read_config(folder).model_type == "blip_2_qformer":
            from isthmus.connectors._blip2_qformer import init_from_blip2 as init
        else:
            from isthmus.connectors._bert import init_from_bert as init
        init(self, folder)

    def forward(
        self, patches: Patches, instruction: Instruction | None = None
    ) -> Float[Tensor, "images tokens d_text"]:
        """Reads the patches of each image into the queries.

        Args:
            patches: of each image.
            instruction: what is asked about each image; the queries read without one, too.

        Raises:
            ValueError: there is an instruction and no text side, or it is too long.
        """
        num_queries, images = len(self.queries), len(patches.features)
        states = self.fresh_queries(images)
        mask = None
        if instruction is not None:
            if self.text is None:
                raise ValueError(
                    "an instruction is given to a Q-Former without a text side; set qformer.text"
                )
            states = torch.cat([states, self.text(instruction.input_ids)], dim=1)
            words = instruction.attention_mask.bool()
            mask = torch.cat([words.new_ones(images, num_queries), words], dim=1)[:, None]
        states, _ = self.body(
            states,
            num_queries=num_queries,
            mask=mask,
            image=self.answers(patches),
            patch_mask=patches.state_mask,
        )
        return self.projection(states[:, :num_queries])

    def fresh_queries(self, images: int) -> Float[Tensor, "images queries d_hidden"]:
        """Returns the queries as they start for each of so many images."""
        return repeat(self.queries, "queries d -> images queries d", images=images)

    def answers(self, patches: Patches) -> list[KeysValues | None]:
        """Returns what the patches answer in each layer, see `QFormerBody.read`."""
        return self.body.read(self.patch_norm(patches.states))


CONNECTOR = QFormer
