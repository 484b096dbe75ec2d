import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isthmus.evaluation.intervals import Interval
from isthmus.evaluation.results import Cost, Provenance, Result
from isthmus.evaluation.scores import SampleRow, Score, mean_scores
from isthmus.report.page import Page, render, write
from isthmus.report.pictures import picture
from isthmus.report.sections import Bar, bars, charts, galleries, label_of
from isthmus.training.freeze import PartRow
from tests.tiny import tiny_image

HOSTILE = "<script>alert('x')</script> & \"quoted\""
VOID = {"meta", "br", "link", "img", "hr", "input"}


class Outline(HTMLParser):
    """Checks that tags nest, and gathers what a browser would load or run."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def row(key: str, value: float, image: Path, **changes: object) -> SampleRow:
    values = {
        "task": "colour",
        "question": f"What colour? ({key})",
        "target": "red",
        "prediction": "red" if value else "blue",
        "scores": {"vqa_accuracy": value, "accuracy_colour": value},
        "images": (image,),
    }
    return SampleRow(id=key, **{**values, **changes})


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    tiny_image(width=40, height=24).save(path)
    return path


@pytest.fixture
def result(image: Path) -> Result:
    rows = (
        row("a", 1.0, image),
        row("b", 0.0, image, question=HOSTILE, target=HOSTILE, prediction=HOSTILE, task=HOSTILE),
        row(
            "c",
            0.5,
            image,
            task="referring",
            scores={"box_accuracy": 0.5},
            boxes=((10.0, 2.0, 30.0, 20.0),),
            predicted_boxes=((12.0, 2.0, 30.0, 20.0),),
        ),
        row("d", 1.0, image, task="arithmetic", images=(), scores={"text_accuracy": 1.0}),
    )
    names = ("vqa_accuracy", "accuracy_colour", "box_accuracy", "text_accuracy")
    blind = Score(value=0.25, interval=Interval(low=0.2, high=0.3), count=2, variant="")
    return Result(
        benchmark="toy",
        headline="vqa_accuracy",
        metrics=mean_scores(rows, dict.fromkeys(names, "")),
        rows=rows,
        provenance=Provenance(model="m"),
        cost=Cost(seconds=1.0, samples_per_second=4.0, peak_memory_gb=0.1),
    ).beside("blind", {"accuracy_colour": blind})


@pytest.fixture
def log(tmp_path: Path) -> Path:
    lines = [
        *({"step": n, "loss": 4.0 - n, "lr": 1e-3, "stage": "align"} for n in (1, 2, 3)),
        {"step": 2, "validation_loss": 2.5, "validation_accuracy": 0.4},
        {"resumed_from": 2},
        {"step": 3, "loss": 0.5, "lr": 1e-3},
    ]
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def page(result: Result, log: Path) -> Page:
    return Page(
        title=HOSTILE,
        subtitle="two towers and a strip",
        headlines=(Bar(label="VQA accuracy", value=0.5, note=HOSTILE),),
        galleries=galleries(result),
        tasks=bars(result),
        charts=charts(log),
        parts=(
            PartRow(part="vision_tower", parameters=12_345, trainable=0, lr=0.0),
            PartRow(part="connector", parameters=678, trainable=678, lr=2e-3),
        ),
        costs={"training": "12 s"},
        provenance={HOSTILE: HOSTILE},
    )


def test_a_page_is_well_formed_and_says_everything(page: Page) -> None:
    outline = Outline(render(page))
    for text in (
        "two towers and a strip",
        "What colour? (a)",
        "12,345",
        "frozen",
        "2.0e-03",
        "12 s",
        "no picture",
        "validation loss",
        "Where it fails",
    ):
        assert text in outline.text
    headings = [tag for tag, _ in outline.tags if tag in ("h1", "h2", "h3")]
    assert headings.count("h1") == 1
    assert headings[0] == "h1"


def test_all_text_is_escaped(page: Page) -> None:
    html = render(page)
    assert "<script" not in html
    outline = Outline(html)
    # title, heading, note, both galleries' task, question, answer and truth, provenance
    assert outline.text.count(HOSTILE) >= 10
    labels = [a["aria-label"] for _, a in outline.tags if "aria-label" in a]
    assert f"Picture of the question: {HOSTILE}" in labels


def test_a_page_loads_nothing(page: Page) -> None:
    html = render(page)
    outline = Outline(html)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in outline.tags}
    for _, attributes in outline.tags:
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "data:").startswith("data:")
        assert not [name for name in attributes if name.startswith("on")]
    assert not re.search(r"url\(|@import|https?://", html)


def test_a_picture_is_kept_pixel_by_pixel_with_its_boxes(image: Path) -> None:
    svg = picture(
        image, "noise", truth=[(10.0, 2.0, 30.0, 20.0)], predicted=[(0.0, 0.0, 40.0, 24.0)]
    )
    outline = Outline(svg)
    (_, frame), (_, shown), *rectangles = outline.tags
    assert frame["viewbox"] == "0 0 40 24"
    assert "crisp" in (frame["class"] or "")
    embedded = (shown["href"] or "").removeprefix("data:image/png;base64,")
    with Image.open(io.BytesIO(base64.b64decode(embedded))) as found, Image.open(image) as true:
        assert np.array_equal(np.asarray(found), np.asarray(true))
    (truth,) = [a for _, a in rectangles if a["class"] == "box truth"]
    assert [truth[k] for k in ("x", "y", "width", "height")] == ["10.00", "2.00", "20.00", "18.00"]
    (predicted,) = [a for _, a in rectangles if a["class"] == "box predicted"]
    assert predicted["width"] == "40.00"


def test_a_large_picture_is_reduced_and_keeps_the_frame_of_its_boxes(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    tiny_image(width=1200, height=600).save(path)
    outline = Outline(picture(path, "noise"))
    (_, frame), (_, shown) = outline.tags
    assert frame["viewbox"] == "0 0 1200 600"
    assert "crisp" not in (frame["class"] or "")
    embedded = (shown["href"] or "").removeprefix("data:image/jpeg;base64,")
    with Image.open(io.BytesIO(base64.b64decode(embedded))) as found:
        assert found.size == (480, 240)


def test_boxes_are_drawn_where_there_is_one_picture(page: Page) -> None:
    html = render(page)
    # the half-right sample is in both galleries
    assert html.count('class="box truth"') == html.count('class="box predicted"') == 2


def test_tasks_stand_beside_other_models(result: Result) -> None:
    table = {bar.label: bar for bar in bars(result)}
    assert list(table) == ["VQA accuracy", "Colour", "Boxes", "Text only"]
    assert table["Colour"].marks == {"blind": 0.25}
    assert table["VQA accuracy"].marks == {}
    html = render(Page(title="t", tasks=bars(result)))
    assert 'class="mark blind"' in html
    assert bars(result, ["box_accuracy", "absent"]) == (table["Boxes"],)


def test_galleries_take_the_tasks_in_turn(image: Path, result: Result) -> None:
    rows = [
        row(f"{task}-{n}", float(n % 2), image, task=task)
        for task, count in (("many", 50), ("few", 2))
        for n in range(count)
    ]
    many = Result(
        **{**{k: getattr(result, k) for k in result.__dataclass_fields__}, "rows": tuple(rows)}
    )
    shown, failed = galleries(many, num=6)
    assert sorted(each.task for each in shown.rows) == ["few"] * 2 + ["many"] * 4
    assert all(each.scores["vqa_accuracy"] == 0 for each in failed.rows)
    assert galleries(many, num=6) == (shown, failed)
    assert galleries(many, num=6, seed=1)[0] != shown


def test_curves_follow_the_run_through_a_resume(log: Path) -> None:
    loss, accuracy, rate = charts(log)
    assert [chart.title for chart in (loss, accuracy, rate)] == [
        "Loss",
        "Accuracy",
        "Learning rate",
    ]
    curves = {curve.label: curve.points for curve in loss.curves}
    assert curves == {
        "loss": ((1.0, 3.0), (2.0, 2.0), (3.0, 0.5)),
        "validation loss": ((2.0, 2.5),),
    }
    assert accuracy.percent
    assert accuracy.curves[0].points == ((2.0, 0.4),)


def test_an_empty_page_has_no_empty_parts(tmp_path: Path) -> None:
    write(Page(title="nothing yet"), tmp_path / "new" / "report.html")
    outline = Outline((tmp_path / "new" / "report.html").read_text("utf-8"))
    assert not {"section", "table", "ul", "h2"} & {tag for tag, _ in outline.tags}


@pytest.mark.parametrize(
    ("metric", "label"),
    [
        ("vqa_accuracy", "VQA accuracy"),
        ("accuracy_multiple_choice", "Multiple choice"),
        ("accuracy_grounded_vqa", "Grounded VQA"),
        ("reading_accuracy", "Reading"),
        ("exact_match", "Exact match"),
    ],
)
def test_metrics_in_words(metric: str, label: str) -> None:
    assert label_of(metric) == label
