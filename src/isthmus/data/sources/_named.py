"""Readers by name: a module of the folder, or a field map."""

from collections.abc import Mapping
from dataclasses import field, make_dataclass
from inspect import Parameter, signature
from typing import Any, Literal, get_args, get_origin, get_type_hints

from isthmus import kinds
from isthmus.config import Config
from isthmus.data.sources._fields import Fields, known_maps
from isthmus.data.sources.base import Reader

PACKAGE = __name__.rpartition(".")[0]


def names() -> list[str]:
    """Returns what `load_reader` knows by name, sorted."""
    modules = {kind: kinds.load(PACKAGE, kind) for kind in kinds.names(PACKAGE)}
    found = {kind for kind, module in modules.items() if "READER" in vars(module)}
    return sorted(found | known_maps().keys())


def load_reader(source: str | Mapping[str, Any], **options: Any) -> Reader:
    """Returns the reader of a data set.

    Args:
        source: one of `names()`, or a field map.
        options: what the reader takes; for a field map, keys that replace its own.

    Raises:
        ValueError: the name is unknown, or an option is, or has another type than expected.
    """
    if not isinstance(source, str):
        return Fields.from_map({**source, **options})
    if source in known_maps():
        return Fields.from_map({**known_maps()[source], **options})
    module = kinds.load(PACKAGE, source) if source in kinds.names(PACKAGE) else None
    reader = vars(module).get("READER") if module else None
    if reader is None:
        raise ValueError(kinds.unknown(source, names(), what="source"))
    return reader(**_checked(source, reader, options))


def _checked(source: str, reader: type[Reader], options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns options as the constructor declares them, checked as every configuration is."""
    hints = get_type_hints(reader.__init__)
    taken = [each for each in signature(reader).parameters.values() if each.kind is _BY_NAME]
    for each in taken:
        valid, value = get_args(hints[each.name]), options.get(each.name, each.default)
        if get_origin(hints[each.name]) is Literal and value not in valid:
            what = f"{each.name} of the source {source}"
            raise ValueError(kinds.unknown(str(value), [*map(str, valid)], what=what))
    declared: Any = make_dataclass(
        f"the source {source}",
        [(each.name, hints[each.name], _default(each)) for each in taken],
        bases=(Config,),
        frozen=True,
        kw_only=True,
    )
    found = declared.from_dict(options)
    return {each.name: getattr(found, each.name) for each in taken}


_BY_NAME = Parameter.KEYWORD_ONLY


def _default(parameter: Parameter) -> Any:
    if parameter.default is Parameter.empty:
        return field()
    return field(default_factory=lambda: parameter.default)
