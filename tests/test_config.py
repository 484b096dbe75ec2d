"""Run configuration: JSON and back, strictly."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.config import Config, digest_of
from isthmus.connectors import ConnectorConfig, default, from_dict
from isthmus.connectors.mlp import MLP

DEFAULT_CONNECTOR = MLP.Config()


@dataclass(frozen=True, kw_only=True)
class FileData(Config):
    file: Path
    limit: int | None = None


@dataclass(frozen=True, kw_only=True)
class WorldData(Config):
    split: str = "train"


@dataclass(frozen=True, kw_only=True)
class Step(Config):
    data: FileData | WorldData = WorldData()
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    dtype: Literal["float32", "bfloat16"] = "float32"
    resume: bool = False
    rates: dict[str, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Plan(Config):
    name: str
    connector: ConnectorConfig = DEFAULT_CONNECTOR
    steps: tuple[Step, ...] = ()


FULL = Plan(
    name="full",
    connector=MLP.Config(depth=3, activation="silu"),
    steps=(
        Step(data=FileData(file=Path("a/b.jsonl"), limit=3), rates={"connector": 1}),
        Step(data=WorldData(split="val"), dtype="bfloat16", resume=True),
    ),
)


def test_a_config_survives_json() -> None:
    assert Plan.from_dict(json.loads(json.dumps(FULL.to_dict()))) == FULL


def test_unions_are_tagged() -> None:
    written = FULL.to_dict()
    mlp = {"kind": "mlp", "depth": 3, "activation": "silu", "patch_multiplier": None}
    assert written["connector"] == mlp
    assert written["steps"][0]["data"] == {"kind": "file_data", "file": "a/b.jsonl", "limit": 3}
    assert written["steps"][1]["data"]["kind"] == "world_data"


@given(
    lr=st.floats(allow_nan=False, allow_infinity=False),
    betas=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    rates=st.none() | st.dictionaries(st.text(), st.floats(0, 1)),
    resume=st.booleans(),
)
def test_any_values_survive_json(**values: Any) -> None:
    step = Step(**values)
    assert Step.from_dict(json.loads(json.dumps(step.to_dict()))) == step


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nam": "x"}, r"Plan: unknown key 'nam'; did you mean 'name'\? \(valid: name, conn"),
        ({"name": 3}, r"Plan.name is 3 \(int\); expected str"),
        ({"steps": [{"lr": "fast"}]}, r"Plan.steps\[0\].lr is 'fast' \(str\); expected float"),
        ({"steps": [{"lr": True}]}, r"lr is True \(bool\); expected float"),
        ({"steps": [{"resume": 1}]}, r"resume is 1 \(int\); expected bool"),
        ({"steps": [{"betas": [0.9]}]}, r"betas has 1 items; expected 2"),
        ({"steps": [{"dtype": "float16"}]}, r"dtype is 'float16'"),
        ({"steps": [{"data": {"kind": "fil_data"}}]}, r"'fil_data'; did you mean 'file_data'"),
        ({"steps": [{"data": {"kind": "file_data"}}]}, r"steps\[0\].data lacks file"),
        ({"steps": {}}, r"Plan.steps is \{\}"),
        ({"connector": {"depth": 2}}, r'Plan.connector names no kind; add "kind"'),
        ({"connector": {"kind": "mpl"}}, r"unknown kind of isthmus.connectors 'mpl'; did you me"),
        ({"connector": {"kind": "mlp", "dept": 2}}, r"'dept'; did you mean 'depth'"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Plan.from_dict({"name": "x", **change})


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ValueError, match="Plan lacks name"):
        Plan.from_dict({})


def test_the_digest_tells_configurations_apart_and_nothing_else() -> None:
    assert len(FULL.digest()) == 12
    assert FULL.digest() == Plan.from_dict(FULL.to_dict()).digest()
    assert FULL.digest() != Plan(name="full").digest()
    assert Step(lr=1).digest() == Step(lr=1.0).digest()
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    with pytest.raises(ValueError, match="JSON"):
        digest_of({"a": float("nan")})


def test_connectors_are_named_by_their_files() -> None:
    assert default("linear").kind == "linear"
    assert from_dict({"kind": "mlp", "depth": 4}) == MLP.Config(depth=4)
