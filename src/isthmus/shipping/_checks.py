"""What a published model with a Q-Former before a language model can hold."""

from isthmus.connectors.qformer import QFormer
from isthmus.fusion.inline import Inline
from isthmus.modeling.modeling_isthmus import IsthmusForConditionalGeneration


def check_qformer(model: IsthmusForConditionalGeneration, target: str) -> QFormer.Config:
    """Returns the connector of a model, a Q-Former with a projection.

    Args:
        model: to be exported.
        target: what an error calls the published model.

    Raises:
        ValueError: it is another.
    """
    connector = model.config.connector
    if not isinstance(connector, QFormer.Config) or not connector.project:
        raise ValueError(
            f"{target} holds a Q-Former with a projection, and this model's connector is "
            f"{connector.to_dict()}; share the isthmus folder itself"
        )
    return connector


def check_inline(model: IsthmusForConditionalGeneration, target: str) -> None:
    """Checks that visual tokens stand in the text, and change nothing else.

    Args:
        model: to be exported.
        target: what an error calls the published model.

    Raises:
        ValueError: they do not.
    """
    if model.config.fusion != Inline.Config():
        raise ValueError(
            f"{target} puts visual tokens in the text and changes nothing else, and this model's "
            f"fusion is {model.config.fusion.to_dict()}; export blip2_qformer, which holds no "
            "language model, or share the isthmus folder itself"
        )
