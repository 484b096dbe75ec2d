"""Learning rates that fall from the top of a part to its bottom, layer by layer."""

from torch import nn

from isthmus.modeling.parts import ModelPart


def lr_factors(part: ModelPart, decay: float) -> dict[int, float]:
    """Returns the factor on the learning rate of each parameter, by its identity.

    What stands behind the layers (a final norm, a head) has 1; each layer from the last to the
    first a further `decay`, and what stands before them (embeddings) one more.

    Paper: BEiT, arXiv 2106.08254, appendix; BLIP-2, arXiv 2301.12597, tables 7 to 9, whose code
        computes these factors and never uses them.

    Args:
        part: of a model; its longest row of layers is meant, that of the first tower of several.
        decay: of one layer.

    Raises:
        ValueError: the part has no layers.
    """
    modules = dict(part.named_modules())
    stacks = {p: m for p, m in modules.items() if isinstance(m, nn.ModuleList) and len(m) > 1}
    if decay != 1 and not stacks:
        raise ValueError(
            f"layer_decay is {decay:g} for a part without layers; set it to 1, or train another "
            "part with it"
        )
    where = max(stacks, key=lambda path: len(stacks[path]), default="")
    depth = len(stacks[where]) if where else 0
    factors: dict[int, float] = {}
    level = depth + 1  # of what stands before the layers
    for path, module in modules.items():
        inside = path.removeprefix(f"{where}.") if path.startswith(f"{where}.") else ""
        if inside:
            level = depth - int(inside.split(".")[0])
        elif level <= depth:
            level = 0
        for parameter in module.parameters(recurse=False):
            factors.setdefault(id(parameter), decay**level)
    return factors
