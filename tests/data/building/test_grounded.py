"""Grounded captions of the microworld: the truth comes back, counts are exact, kills do no harm."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from isthmus.data import sources
from isthmus.data.building.filters import FirstOfText, Side, Within
from isthmus.data.building.grounded import Built, Columns, Settings, build
from isthmus.data.building.phrases import ClosedClassPhrases
from isthmus.data.check import check
from isthmus.geometry.boxes import parse_boxes
from isthmus.microworld.render import render
from isthmus.microworld.scene import CANVAS, Scene, scenes
from isthmus.microworld.tasks.caption import caption_text
from tests.data.building.microworld_detector import CLUTTER, MicroworldDetector, true_boxes

NUM = 24
FILTERS = (Within(column="similarity", least=0.3), Side(least=32), FirstOfText(column="caption"))
Row = dict[str, Any]
World = tuple[Path, list[Row], dict[Path, Scene]]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Pictures of scenes with their captions, as a table of web pages has them."""
    rows, known = [], {}
    for number, (scene, _) in enumerate(scenes("train", NUM)):
        name = f"{number}.png"
        render(scene).save(tmp_path / name)
        known[tmp_path / name] = scene
        row = {"id": number, "image": name, "caption": caption_text(scene)}
        rows.append(row | {"similarity": 0.4, "width": CANVAS, "height": CANVAS})
    return tmp_path, rows, known


def run(
    world: World,
    name: str,
    *,
    rows: list[Row] | None = None,
    detector: MicroworldDetector | None = None,
    **settings: Any,
) -> tuple[Built, Path, MicroworldDetector]:
    folder, given, known = world
    detector, output = detector or MicroworldDetector(known, clutter=True), folder / name
    built = build(
        given if rows is None else rows,
        ClosedClassPhrases(),
        detector,
        output,
        image_root=folder,
        settings=Settings(**settings),
    )
    assert built.seen == (
        sum(built.filtered.values())
        + sum(built.quarantined.values())
        + sum(built.dropped.values())
        + built.kept
    )
    return built, output, detector


def written(output: Path) -> list[Row]:
    return [json.loads(line) for line in output.read_text().splitlines()]


def num_boxes(row: Row, scene: Scene) -> int:
    spans = ClosedClassPhrases().spans(row["caption"])
    return len({box for span in spans for box in true_boxes(scene, span.of(row["caption"]))})


def drawn(scene: Scene) -> set[tuple[int, int, int, int]]:
    return {part.box for part in (*scene.things, scene.sign) if part}


@pytest.mark.parametrize("clutter", [False, True])
def test_the_boxes_are_those_of_the_scenes(world: World, clutter: bool) -> None:
    folder, rows, known = world
    detector = MicroworldDetector(known, clutter=clutter)
    built, output, _ = run(world, "out.jsonl", detector=detector)
    found = {row["id"]: row for row in written(output)}
    assert len(found) == built.kept >= NUM / 2
    num_true, num_phrases = 0, Counter[str]()
    for row in rows:
        scene, caption = known[folder / row["image"]], row["caption"]
        spans = ClosedClassPhrases().spans(caption)
        true = [boxes for span in spans if (boxes := true_boxes(scene, span.of(caption)))]
        num_true += sum(map(len, true))
        num_phrases.update(kept=len(true), no_box=len(spans) - len(true), overlaps=0)
        if made := found.get(str(row["id"])):
            meta = made["meta"]
            assert [phrase["boxes"] for phrase in meta["phrases"]] == [
                [list(box) for box in boxes] for boxes in true
            ]
            assert {tuple(box) for box in meta["boxes"]} == {b for boxes in true for b in boxes}
            assert {tuple(box) for box in meta["boxes"]} == drawn(scene)
            assert meta["caption"] == caption
            for phrase in meta["phrases"]:
                assert set(phrase["scores"]) == {0.9}
    # Five wrong detections for each true one, each refused for its own reason.
    assert built.boxes == {
        "kept": num_true,
        **dict.fromkeys(CLUTTER, num_true * clutter),
        "phrase_overlaps": 0,
    }
    assert built.phrases == num_phrases


def test_three_quarters_of_the_images_have_two_boxes(world: World) -> None:
    folder, rows, known = world
    counts = {str(row["id"]): num_boxes(row, known[folder / row["image"]]) for row in rows}
    poor, rich = (
        sum(1 for n in counts.values() if (n >= 2) is is_rich) for is_rich in (False, True)
    )
    few = [row for row in rows if counts[str(row["id"])] < 2]
    more = [{**row, "id": f"{row['id']} again, {n}"} for n in range(4) for row in few]
    bare = {**rows[0], "id": "bare", "caption": "nothing that anybody knows"}
    built, output, _ = run(world, "out.jsonl", rows=[*rows, *more, bare])
    assert poor + len(more) > rich // 3  # else there is nothing to choose
    assert built.dropped == {"no_box": 1, "over_share": poor + len(more) - rich // 3}
    assert built.kept == rich + rich // 3
    made = [len(row["meta"]["boxes"]) for row in written(output)]
    assert built.share == sum(n >= 2 for n in made) / len(made) >= 0.75
    ids = [row["id"] for row in written(output)]
    assert {name for name, count in counts.items() if count >= 2} <= set(ids)
    order = [str(row["id"]) for row in [*rows, *more]]
    assert ids == sorted(ids, key=order.index)
    _, other, _ = run(world, "other.jsonl", rows=[*rows, *more, bare], seed=1)
    assert ids != [row["id"] for row in written(other)]


def test_the_file_is_a_data_file_like_any_other(world: World) -> None:
    folder, _, known = world
    built, output, _ = run(world, "out.jsonl", prompt="Where is what?")
    samples = list(sources.read(output, folder))
    assert len(samples) == built.kept
    for sample in samples:
        scene = known[sample.images[0]]
        assert sample.messages[0].text == "Where is what?"
        assert sample.messages[0].num_images == 1
        assert set(sample.boxes) == drawn(scene)
        read = parse_boxes(sample.messages[1].text, (CANVAS, CANVAS), digits=3)
        assert read.unread == ()
        assert len(set(read.boxes)) == len(sample.boxes)
    census = check(output, folder).census
    assert (census.seen, census.usable) == (built.kept, built.kept)
    assert (census.boxes.malformed, census.boxes.outside, census.boxes.tiny) == (0, 0, 0)
    _, bare, _ = run(world, "bare.jsonl", prompt="")
    assert all(sample.messages[0].text == "" for sample in sources.read(bare, folder))


def spoiled(world: World) -> list[Row]:
    """The rows of the world, and one of each kind that is filtered or cannot be used."""
    folder, rows, _ = world
    (folder / "damaged.png").write_bytes((folder / "0.png").read_bytes()[:90])
    (folder / "empty.png").touch()
    render(next(scenes("test", 1))[0]).save(folder / "unknown.png")
    bad: list[Row] = [
        {"similarity": 0.1},
        {"similarity": None, "image": "nowhere.png"},
        {"width": 31},
        {"caption": rows[1]["caption"].upper()},
        {"image": "nowhere.png", "caption": "a 1"},
        {"image": "../0.png", "caption": "a 2"},
        {"image": "damaged.png", "caption": "a 3"},
        {"image": "empty.png", "caption": "a 4"},
        {"image": "unknown.png", "caption": "a cat"},  # the detector's own
        {"image": None, "caption": "a 5"},
        {"caption": " \n"},
        {"caption": "a cat [[1,2,3,4]]"},
        {"caption": "half a pair \ud800"},
        {"image": "\ud800.png", "caption": "a 6"},
    ]
    made = [{**rows[0], "id": f"bad {n}", **change} for n, change in enumerate(bad)]
    return [*rows[:10], *made, *rows[10:]]


def test_every_row_is_accounted_for(world: World) -> None:
    rows, distinct = spoiled(world), len({row["caption"] for row in world[1]})
    built, output, detector = run(world, "out.jsonl", rows=rows, filters=FILTERS)
    assert built.seen == len(rows)
    assert built.filtered == {
        "similarity": 2,
        "side": 1,
        "duplicate": 1 + NUM - distinct,
    }
    assert built.quarantined == {
        "image_missing": 1,
        "outside_image_root": 1,
        "image_damaged": 2,
        "image_empty": 1,
        "wrong_layout": 2,
        "empty_answer": 1,
        "broken_json": 2,
    }
    listed = written(output.with_suffix(".quarantine.jsonl"))
    assert Counter(one["reason"] for one in listed) == built.quarantined
    assert {one["id"]: one["row"] for one in listed} == {f"bad {n}": 11 + n for n in range(4, 14)}
    assert [one["message"] for one in listed if one["id"] == "bad 11"] == [
        "the caption 'a cat [[1,2,3,4]]' holds brackets that read as a box; take them out"
    ]
    provenance = json.loads(output.with_suffix(".provenance.json").read_text())
    assert provenance["counts"] == built.to_dict()
    assert provenance["detector"] == detector.identity
    assert provenance["phrases"] == ClosedClassPhrases().identity
    assert Settings.from_dict(provenance["settings"]) == Settings(filters=FILTERS)
    assert (
        list(output.parent.glob("*.journal.jsonl")) == list(output.parent.glob("*.partial")) == []
    )


class Dying(list):
    """Rows of which the last cannot be had: the run is killed there."""

    def __iter__(self) -> Any:
        yield from list.__iter__(self)
        raise KeyboardInterrupt


@pytest.mark.parametrize("torn", [b"", b'{"key": "half a li', b"\0\0\0\0\n"])
def test_a_killed_run_ends_with_the_same_files(world: World, torn: bytes) -> None:
    rows = spoiled(world)
    given: Row = {"filters": FILTERS, "chunk": 7}
    _, whole, unkilled = run(world, "whole.jsonl", rows=rows, **given)
    detector = MicroworldDetector(world[2], clutter=True)
    for end in (0, 5, 17, 17, len(rows)):
        with pytest.raises(KeyboardInterrupt):
            run(world, "killed.jsonl", rows=Dying(rows[:end]), detector=detector, **given)
        with whole.with_name("killed.journal.jsonl").open("ab") as file:
            file.write(torn)
        assert not whole.with_name("killed.jsonl").exists()
    _, killed, _ = run(world, "killed.jsonl", rows=rows, detector=detector, **given)
    assert detector.asked == unkilled.asked  # no picture is looked at twice
    for suffix in (".jsonl", ".provenance.json", ".quarantine.jsonl"):
        assert killed.with_suffix(suffix).read_bytes() == whole.with_suffix(suffix).read_bytes()
    with pytest.raises(ValueError, match=r"killed\.jsonl is there already"):
        run(world, "killed.jsonl", rows=rows, **given)


def test_a_run_killed_while_it_writes_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, whole, _ = run(world, "whole.jsonl")
    with monkeypatch.context() as patched:
        patched.setattr("isthmus.data.building.grounded._chosen", lambda *_: Dying([b'{"half']))
        with pytest.raises(KeyboardInterrupt):
            run(world, "killed.jsonl")
    assert not whole.with_name("killed.jsonl").exists()
    _, killed, detector = run(world, "killed.jsonl")
    assert detector.asked == []
    assert killed.read_bytes() == whole.read_bytes()


def test_a_run_goes_on_only_with_what_it_was_begun_with(world: World) -> None:
    rows = world[1]
    with pytest.raises(KeyboardInterrupt):
        run(world, "out.jsonl", rows=Dying(rows[:9]))
    with pytest.raises(ValueError, match="was begun with other settings; give the same again"):
        run(world, "out.jsonl", seed=1)
    with pytest.raises(ValueError, match="was begun with other detector"):
        run(world, "out.jsonl", detector=MicroworldDetector(world[2]))
    changed = [*rows[:4], {**rows[4], "caption": "another"}, *rows[5:]]
    with pytest.raises(ValueError, match="begun with other rows: its row 5, '4', is not there now"):
        run(world, "out.jsonl", rows=changed)
    with pytest.raises(ValueError, match="begun with other rows: its row 8, '7'"):
        run(world, "out.jsonl", rows=rows[:7])
    built, _, detector = run(world, "out.jsonl")
    assert (built.seen, len(detector.asked)) == (NUM, NUM - 9)


def test_other_columns_hold_the_same(world: World) -> None:
    names = {"id": "SAMPLE_ID", "image": "file", "caption": "TEXT"}
    renamed = [{names.get(key, key): value for key, value in row.items()} for row in world[1]]
    _, output, _ = run(world, "out.jsonl", rows=renamed, columns=Columns(**names))
    _, same, _ = run(world, "same.jsonl")
    assert output.read_bytes() == same.read_bytes()
    for name in names.values():
        poorer = [{key: value for key, value in renamed[0].items() if key != name}]
        with pytest.raises(ValueError, match=f"no column '{name}'; it has"):
            run(world, f"{name}.jsonl", rows=poorer, columns=Columns(**names))


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"share": 0.0}, "share is"), ({"boxes": 1}, "boxes is"), ({"chunk": 0}, "chunk is 0")],
)
def test_settings_that_make_no_sense_are_refused(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings(**settings)
