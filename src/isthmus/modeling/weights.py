"""Weights by name: some of a module's, and those of files that may be damaged or of another."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike

from safetensors import SafetensorError
from torch import Tensor, nn


@contextmanager
def readable_weights(source: str | PathLike[str]) -> Iterator[None]:
    """Turns the error of a damaged or absent weight file into one that names its folder.

    Args:
        source: folder or hub id that is loaded.

    Raises:
        ValueError: a weight file is damaged, or there is none.
    """
    try:
        yield
    except SafetensorError as error:
        raise ValueError(
            f"the weights in {source} are damaged ({error}); copy or download the whole folder "
            "again"
        ) from error
    except OSError as error:
        raise ValueError(
            f"{source} holds no weights that can be loaded ({error}); save the model there with "
            "save_pretrained, or name another folder or hub id"
        ) from error


def weights_of(module: nn.Module, values: Iterable[Tensor]) -> dict[str, Tensor]:
    """Returns some of a module's parameters and buffers by name; tied weights once."""
    wanted = {id(value) for value in values}
    found: dict[int, tuple[str, Tensor]] = {}
    for name, value in module.state_dict(keep_vars=True).items():
        if id(value) in wanted:
            found.setdefault(id(value), (name, value.detach().contiguous()))
    return dict(found.values())


def put_weights(
    module: nn.Module, weights: Mapping[str, Tensor], source: str | PathLike[str]
) -> None:
    """Puts weights into a module that may have others as well.

    Args:
        module: that has weights of these names and shapes.
        weights: by name.
        source: where they came from, for the error.

    Raises:
        ValueError: they are of another architecture.
    """
    own = module.state_dict()
    _check_fit(own, weights, source)
    module.load_state_dict(weights, strict=False)


@contextmanager
def swapped_weights(
    module: nn.Module, weights: Mapping[str, Tensor], source: str | PathLike[str]
) -> Iterator[None]:
    """Puts weights into a module for a while; nothing is copied.

    Args:
        module: that has weights of these names and shapes.
        weights: by name; meanwhile, they hold the module's own.
        source: where they came from, for the error.

    Raises:
        ValueError: they are of another architecture.
    """
    own = module.state_dict(keep_vars=True)
    _check_fit(own, weights, source)
    # What is tied is exchanged once.
    pairs = {id(own[name]): (own[name], value) for name, value in weights.items()}

    def exchange() -> None:
        for mine, other in pairs.values():
            mine.data, other.data = other.data, mine.data

    exchange()
    try:
        yield
    finally:
        exchange()


def _check_fit(
    own: Mapping[str, Tensor], weights: Mapping[str, Tensor], source: str | PathLike[str]
) -> None:
    for name, value in weights.items():
        if name not in own or own[name].shape != value.shape:
            found = tuple(own[name].shape) if name in own else "absent"
            raise ValueError(
                f"{source} holds {name} of shape {tuple(value.shape)}, which is {found} in the "
                "model; its weights are of another architecture"
            )
