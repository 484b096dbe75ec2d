"""Scenes keep the promises that the splits and the scores rest on."""

from random import Random

import pytest

from isthmus.microworld.scene import (
    CANVAS,
    COLOURS,
    HELD_OUT,
    MAX_THINGS,
    SHAPES,
    SPLITS,
    Scene,
    draw_scene,
    scenes,
)


def drawn(split: str, num: int) -> list[Scene]:
    return [scene for scene, _ in scenes(split, num)]


def test_held_out_pairs_leave_every_shape_and_colour_to_training() -> None:
    assert {shape for shape, _ in HELD_OUT} == set(SHAPES)
    assert {colour for _, colour in HELD_OUT} == set(COLOURS)
    assert len(HELD_OUT) == 18


def test_no_two_splits_share_a_scene() -> None:
    by_split = {split: set(drawn(split, 300)) for split in SPLITS}
    assert all(by_split[a].isdisjoint(by_split[b]) for a in SPLITS for b in SPLITS if a < b)
    assert all(scene.split == split for split, group in by_split.items() for scene in group)


def test_held_out_pairs_are_in_every_thing_of_compositional_and_nowhere_else() -> None:
    for split in SPLITS:
        pairs = {(t.shape, t.colour) for scene in drawn(split, 300) for t in scene.things}
        assert pairs <= HELD_OUT if split == "compositional" else pairs.isdisjoint(HELD_OUT)


def test_scenes_depend_on_split_seed_and_index_alone() -> None:
    assert drawn("train", 20)[:5] == drawn("train", 5)
    assert [s for s, _ in scenes("train", 5, seed=1)] != drawn("train", 5)


@pytest.mark.parametrize("num_things", range(1, MAX_THINGS + 1))
def test_things_lie_on_the_canvas_and_overlap_little(num_things: int) -> None:
    rng = Random(num_things)
    for _ in range(100):
        scene = draw_scene("train", rng, num_things)
        assert len(scene.things) == num_things
        boxes = [thing.box for thing in scene.things]
        if scene.sign:
            boxes.append(scene.sign.box)
        for i, (x0, y0, x1, y1) in enumerate(boxes):
            assert 0 <= x0 < x1 <= CANVAS
            assert 0 <= y0 < y1 <= CANVAS
            for u0, v0, u1, v1 in boxes[:i]:
                width = max(0, min(x1, u1) - max(x0, u0))
                height = max(0, min(y1, v1) - max(y0, v0))
                smaller = min((x1 - x0) * (y1 - y0), (u1 - u0) * (v1 - v0))
                assert width * height <= 0.15 * smaller


def test_places_are_free_not_a_grid() -> None:
    lefts = {thing.box[0] for scene in drawn("train", 400) for thing in scene.things}
    assert len(lefts) > 45
