"""Run configuration: frozen dataclasses that become JSON and come back, strictly.

A `Config` holds numbers, strings, paths, literals, optional values, tuples, dicts with string keys,
and other Configs. Where a field admits more than one Config class, the JSON object names its class
under the key `kind`: the module name for a `KindConfig` (one file per kind, see `kinds.py`), the
class name in snake_case for a union that lists its members.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from hashlib import sha256
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from isthmus import kinds

TAG = "kind"
"""Key of the JSON object that names the class where a field admits several."""
DIGEST_LENGTH = 12
"""Hexadecimal digits of a digest; 48 bits are ample to tell the runs of a study apart."""

# Not typing.Self: the run-time checker of the tests cannot resolve it on single methods.
ConfigT = TypeVar("ConfigT", bound="Config")
KindT = TypeVar("KindT", bound="KindConfig")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Base of every run configuration: a frozen keyword-only dataclass that JSON can hold."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the configuration as JSON-able values: tuples as lists, paths as strings."""
        hints = get_type_hints(type(self))
        return {
            field.name: _encode(hints[field.name], getattr(self, field.name))
            for field in fields(self)
        }

    @classmethod
    def from_dict(cls: type[ConfigT], data: Mapping[str, Any]) -> ConfigT:
        """Builds the configuration from what `to_dict` returned.

        Raises:
            ValueError: a key is unknown or missing, or a value has the wrong type; the message
                names the place, what was expected, and the nearest valid key.
        """
        return _decode_config(cls, data, cls.__name__)

    def digest(self) -> str:
        """Returns the first 12 hexadecimal digits of the SHA-256 of the canonical JSON."""
        return digest_of(self.to_dict())


@dataclass(frozen=True, kw_only=True)
class KindConfig(Config):
    """Base of the configurations of a folder registry, where one file is one kind.

    A family is declared as `class ConnectorConfig(KindConfig, package="isthmus.connectors",
    constant="CONNECTOR")`: each module of the package binds `constant` to a class whose attribute
    `Config` is that kind's configuration.
    """

    _package: ClassVar[str] = ""
    _constant: ClassVar[str] = ""

    def __init_subclass__(cls, *, package: str = "", constant: str = "", **kwargs: Any) -> None:
        """Remembers where the kinds of a newly declared family lie."""
        super().__init_subclass__(**kwargs)
        if package:
            cls._package, cls._constant = package, constant

    @property
    def kind(self) -> str:
        """The name of the module that defines this configuration."""
        return type(self).__module__.rpartition(".")[2]

    def to_dict(self) -> dict[str, Any]:
        """Returns the configuration as JSON-able values, its kind first."""
        return {TAG: self.kind, **super().to_dict()}

    @classmethod
    def of_kind(cls: type[KindT], kind: str) -> type[KindT]:
        """Returns the configuration class of a kind.

        Raises:
            ValueError: the family has no such kind.
        """
        return getattr(kinds.load(cls._package, kind), cls._constant).Config


def digest_of(value: Any) -> str:
    """Returns the first 12 hexadecimal digits of the SHA-256 of a JSON-able value.

    Raises:
        ValueError: the value holds a number that JSON cannot write (infinity, not-a-number).
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


def tag_of(cls: type[Config]) -> str:
    """Returns the tag of a member of a union of Configs: `FileData` is `file_data`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()


# Writing. The declared type decides the form, so that lr=1 and lr=1.0 have one digest.


def _encode(hint: Any, value: Any) -> Any:
    if isinstance(value, Config):
        union = [member for member in _members(hint) if _is_config(member)]
        tagged = len(union) > 1 and not isinstance(value, KindConfig)
        return {**({TAG: tag_of(type(value))} if tagged else {}), **value.to_dict()}
    if isinstance(value, tuple | list):
        return [_encode(h, item) for h, item in zip(_items(hint, value), value, strict=True)]
    if isinstance(value, Mapping):
        arguments = next((get_args(m) for m in _members(hint) if get_origin(m) is dict), ())
        item_hint = arguments[1] if arguments else Any
        return {str(key): _encode(item_hint, item) for key, item in value.items()}
    if isinstance(value, Path):
        return value.as_posix()
    if float in _members(hint) and isinstance(value, int) and not isinstance(value, bool):
        return value if int in _members(hint) else float(value)
    return value


def _items(hint: Any, value: tuple[Any, ...] | list[Any]) -> list[Any]:
    for member in _members(hint):
        if get_origin(member) in (tuple, list):
            arguments = get_args(member)
            repeated = get_origin(member) is list or arguments[-1] is Ellipsis
            return [arguments[0]] * len(value) if repeated else list(arguments)
    return [Any] * len(value)


# Reading. `where` is the path of the value, such as Recipe.stages[0].batch_size.


def _decode(hint: Any, value: Any, where: str) -> Any:
    members = _members(hint)
    if hint is Any or (value is None and NoneType in members):
        return value
    configs = [member for member in members if _is_config(member)]
    if configs and isinstance(value, Mapping):
        return _decode_config(_choose(configs, value, where), value, where, len(configs) > 1)
    for member in members:
        if not _is_config(member) and _fits(member, value):
            return _decode_member(member, value, where)
    names = " or ".join(_name(member) for member in members)
    raise ValueError(f"{where} is {value!r} ({type(value).__name__}); expected {names}")


def _decode_member(member: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(member), get_args(member)
    if origin is dict:
        return {key: _decode(arguments[1], v, f"{where}[{key!r}]") for key, v in value.items()}
    if origin in (tuple, list):
        hints = _items(member, value)
        if len(hints) != len(value):
            raise ValueError(f"{where} has {len(value)} items; expected {len(hints)}")
        pairs = enumerate(zip(hints, value, strict=True))
        decoded = [_decode(h, v, f"{where}[{i}]") for i, (h, v) in pairs]
        return tuple(decoded) if origin is tuple else decoded
    if member in (float, Path):
        return member(value)
    return value


def _decode_config(cls: type[Config], data: Any, where: str, tagged: bool = False) -> Any:
    if not isinstance(data, Mapping):
        raise ValueError(f"{where} is {data!r}; expected an object with the keys of {cls.__name__}")
    data = dict(data)
    if issubclass(cls, KindConfig):
        cls = _of_kind(cls, data.pop(TAG, None), where)
    elif tagged:
        data.pop(TAG)
    known = {field.name: field for field in fields(cls) if field.init}
    for key in data:
        if key not in known:
            raise ValueError(f"{where}: {kinds.unknown(key, list(known), what='key')}")
    missing = [
        name
        for name, field in known.items()
        if name not in data and field.default is MISSING and field.default_factory is MISSING
    ]
    if missing:
        raise ValueError(f"{where} lacks {', '.join(missing)}; give a value for each")
    hints = get_type_hints(cls)
    return cls(**{key: _decode(hints[key], data[key], f"{where}.{key}") for key in data})


def _of_kind(cls: type[KindConfig], kind: Any, where: str) -> type[KindConfig]:
    concrete = "Config" in cls.__qualname__.split(".")[1:]
    if kind is None and not concrete:
        valid = ", ".join(kinds.names(cls._package))
        raise ValueError(f'{where} names no kind; add "{TAG}": one of {valid}')
    found = cls if kind is None else cls.of_kind(kind)
    if not issubclass(found, cls):
        raise ValueError(f"{where} has the kind {kind!r}, which is not a {cls.__qualname__}")
    return found


def _choose(configs: list[type[Config]], value: Mapping[str, Any], where: str) -> type[Config]:
    if len(configs) == 1:
        return configs[0]
    by_tag = {tag_of(config): config for config in configs}
    if value.get(TAG) not in by_tag:
        raise ValueError(f"{where}: {kinds.unknown(value.get(TAG, ''), list(by_tag), what=TAG)}")
    return by_tag[value[TAG]]


def _members(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _is_config(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Config)


def _fits(member: Any, value: Any) -> bool:
    origin = get_origin(member)
    if origin is Literal:
        # 1 == True in Python; a literal means its own type.
        return any(value == a and type(value) is type(a) for a in get_args(member))
    if origin in (tuple, list):
        return isinstance(value, list | tuple)
    if origin is dict:
        return isinstance(value, Mapping)
    if isinstance(value, bool):
        return member is bool
    accepted: dict[Any, Any] = {float: (int, float), Path: (str, Path)}
    return isinstance(value, accepted.get(member, member))


def _name(member: Any) -> str:
    if get_origin(member) is Literal:
        return " or ".join(map(repr, get_args(member)))
    return "None" if member is NoneType else getattr(member, "__qualname__", None) or str(member)
