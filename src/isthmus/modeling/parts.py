"""The parts of a model: what is frozen, trained, counted and recognised as one."""

from collections.abc import Iterator, Mapping, Sequence
from typing import final

from torch import Tensor, nn


@final
class ModelPart:
    """Modules that belong together, without those inside them that are a part of their own.

    A fusion puts modules into the layers of the language model; they are not the language model's.
    """

    def __init__(self, roots: Sequence[nn.Module], others: Sequence[nn.Module] = ()) -> None:
        """Takes the modules of the part, and those of all other parts."""
        self.roots = list(roots)
        self._others = {id(module) for module in others}

    def named_modules(self) -> Iterator[tuple[str, nn.Module]]:
        """Yields each module of the part with its path."""
        for number, root in enumerate(self.roots):
            yield from self._below(root, str(number))

    def parameters(self) -> list[nn.Parameter]:
        """Returns the parameters of the part, each once, however often it is tied."""
        found = (p for _, m in self.named_modules() for p in m.parameters(recurse=False))
        return list({id(parameter): parameter for parameter in found}.values())

    def named_parameters(self) -> dict[str, nn.Parameter]:
        """Returns the parameters of the part by their names within its modules, each once."""
        found: dict[int, tuple[str, nn.Parameter]] = {}
        for path, module in self.named_modules():
            inside = path.partition(".")[2]  # without the number of the root
            for name, parameter in module.named_parameters(recurse=False):
                whole = f"{inside}.{name}" if inside else name
                found.setdefault(id(parameter), (whole, parameter))
        return dict(found.values())

    def buffers(self) -> list[Tensor]:
        """Returns the buffers of the part."""
        return [b for _, m in self.named_modules() for b in m.buffers(recurse=False)]

    def state_dict(self) -> dict[str, Tensor]:
        """Returns what a checkpoint holds of the part, by name within it."""
        whole = nn.ModuleList(self.roots).state_dict(keep_vars=True)
        own = {id(value) for value in (*self.parameters(), *self.buffers())}
        return {name: value for name, value in whole.items() if id(value) in own}

    def train(self, mode: bool) -> None:
        """Sets the mode of the part; of the parts inside it, too, which are set after it."""
        for root in self.roots:
            root.train(mode)

    def _below(self, module: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
        yield path, module
        for name, child in module.named_children():
            if id(child) not in self._others:
                yield from self._below(child, f"{path}.{name}")


Parts = Mapping[str, ModelPart]
"""Parts of a model by name."""


def split(roots: Mapping[str, Sequence[nn.Module]]) -> dict[str, ModelPart]:
    """Returns the parts with these modules; what lies inside another's modules stays its own."""
    return {
        name: ModelPart(own, [m for n, modules in roots.items() if n != name for m in modules])
        for name, own in roots.items()
    }
