"""`isthmus chat`: a conversation in the terminal, with pictures."""

import io
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from isthmus.cli import main
from isthmus.cli._images import open_image
from isthmus.cli._model import open_model
from isthmus.cli.chat import Conversation
from tests.cli.conftest import World
from tests.tiny import tiny_image


@pytest.fixture
def talk(world: World) -> Conversation:
    model, processor = open_model(str(world.model))
    return Conversation(model=model, processor=processor, max_new_tokens=12)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """A web server on this machine with two pictures and one text."""
    tiny_image(seed=3).save(tmp_path / "picture.png")
    (tmp_path / "a b").mkdir()
    tiny_image(seed=3).save(tmp_path / "a b" / "\u00e4.png")
    (tmp_path / "words.txt").write_text("no picture")
    handler = partial(Silent, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


def type_in(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def test_what_is_streamed_is_what_is_answered(
    world: World,
    talk: Conversation,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    picture = world.data.parent / "images" / "0-0.png"
    talk.waiting.append(open_image(str(picture)))
    answers = [talk.ask("What?"), talk.ask("And now?")]
    type_in(monkeypatch, "What?", "And now?", "/quit", "not read")
    words = ["chat", str(world.model), "--image", str(picture), "--max-new-tokens", "12"]
    assert main(words) == 0
    assert [line.strip() for line in capsys.readouterr().out.split("\n") if line.strip()] == [
        line.strip() for answer in answers for line in answer.split("\n") if line.strip()
    ]


def test_a_picture_changes_the_answer_and_is_remembered(talk: Conversation) -> None:
    blind = talk.ask("What?")
    talk.forget()
    talk.waiting.append(tiny_image(seed=1))
    seeing = talk.ask("What?")
    assert seeing != blind
    talk.ask("And now?")
    assert len(talk.images) == 1
    assert [message.num_images for message in talk.messages] == [1, 0, 0, 0]


def test_boxes_of_an_answer_are_drawn_on_the_picture(
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    answers = iter(["a ring [[25,25,49,49]] and [[9,", "nothing"])
    monkeypatch.setattr(Conversation, "ask", lambda talk, *_: _shown(talk, next(answers)))
    picture = world.data.parent / "images" / "0-0.png"
    words = ["chat", str(world.model), "--image", str(picture), "--draw", str(tmp_path / "drawn")]
    type_in(monkeypatch, "Where?", "And now?")
    assert main(words) == 0
    said = capsys.readouterr().out
    assert f"(1 box in {tmp_path / 'drawn' / 'answer-1.png'}; 1 cannot be read)" in said
    assert "(no box to draw)" in said
    assert len(list((tmp_path / "drawn").iterdir())) == 1

    with Image.open(picture) as before, Image.open(tmp_path / "drawn" / "answer-1.png") as after:
        plain = before.convert("RGB").resize(after.size, Image.Resampling.NEAREST)
        changed = ImageChops.difference(plain, after.convert("RGB")).getbbox()
    assert changed is not None
    # The middle of the cells 25 to 49 of a hundred, on a picture that was enlarged.
    sides = (*after.size, *after.size)
    edges = [side * share for side, share in zip(sides, (0.255, 0.255, 0.495, 0.495), strict=True)]
    assert changed == pytest.approx(edges, abs=3)


def _shown(talk: Conversation, answer: str) -> str:
    talk.images, talk.waiting = [*talk.images, *talk.waiting], []
    return answer


def test_a_way_to_write_boxes_needs_a_place_to_draw_them(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["chat", str(world.model), "--boxes", "cogvlm"]) == 2
    assert "give --draw a folder" in capsys.readouterr().err


def test_new_forgets_everything(talk: Conversation) -> None:
    first = talk.ask("What?")
    talk.ask("And now?")
    talk.forget()
    assert talk.ask("What?") == first


def test_a_turn_that_failed_is_not_remembered(talk: Conversation) -> None:
    talk.waiting.append(tiny_image())
    with pytest.raises(ValueError, match="begin again with /new"):
        talk.ask("x" * 3000)
    assert talk.messages == []
    assert len(talk.waiting) == 1


@pytest.mark.parametrize(
    "name", ["picture.png", "a b/\u00e4.png", "a%20b/\u00e4.png", "picture.png?q=\u00fc x"]
)
def test_a_picture_comes_from_the_web(site: str, name: str) -> None:
    assert open_image(f"{site}/{name}").size == tiny_image(seed=3).size


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("SITE/absent.png", "cannot be fetched"),
        ("SITE/words.txt", "cannot be read"),
        ("http://127.0.0.1:9/x.png", "cannot be fetched"),
        ("http://127.0.0.1:abc/x.png", "cannot be fetched: nonnumeric port"),
        ("http://[x/y.png", "cannot be fetched: Invalid IPv6"),
        ("absent.png", "does not exist"),
        ("FOLDER", "there is no image"),
    ],
)
def test_a_picture_that_cannot_be_had_is_named(
    source: str, reason: str, site: str, tmp_path: Path
) -> None:
    source = source.replace("SITE", site).replace("FOLDER", str(tmp_path))
    with pytest.raises(ValueError, match=reason) as error:
        open_image(source)
    assert source in str(error.value)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("/image", "needs a path"),
        ("/image absent.png", "does not exist"),
        ("/imag x", "unknown command '/imag'"),
    ],
)
def test_a_script_hears_of_an_error(
    line: str,
    reason: str,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    type_in(monkeypatch, line)
    assert main(["chat", str(world.model)]) == 2
    assert reason in capsys.readouterr().err


def test_a_person_goes_on_after_an_error(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    type_in(monkeypatch, "/image absent.png", "/help")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    assert main(["chat", str(world.model)]) == 0
    said = capsys.readouterr().out
    assert "absent.png does not exist" in said
    assert said.count("/image PATH|URL") == 2
