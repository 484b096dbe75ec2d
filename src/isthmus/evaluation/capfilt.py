"""CapFilt: more captions for each image, and of all of them those that fit it best.

A captioner writes candidates beside the captions that a file has; a judge scores each of them; the
best few stay. The file grows chunk by chunk, and each chunk has a seed of its own, so a run that
was killed goes on and ends with the same file.
"""

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any, Literal, final, get_args

import torch
from rich.console import Console
from rich.progress import track

from isthmus.config import Config, digest_of
from isthmus.data.pairs import pairs_of
from isthmus.data.sample import Sample
from isthmus.evaluation.judges import Judge
from isthmus.evaluation.settings import check_counts, chunks
from isthmus.evaluation.writers import Captioner, Drawn, Writer, writer_of

Source = Literal["original", "generated"]


@final
@dataclass(frozen=True, kw_only=True)
class Settings(Config):
    """How captions are made and chosen."""

    candidates: int = 10
    """Captions that are written for each image (BLIP-2: 10)."""
    keep: int = 2
    """Captions of an image that stay (BLIP-2: 2)."""
    top_p: float = 0.9
    """Words are drawn from the likeliest that make up this probability."""
    max_new_tokens: int = 30
    """Longest caption; one that is not at its end by then is left out."""
    prompt: str = ""
    """What a captioner with a language model is asked beside the image."""
    seed: int = 0
    """Of the draws."""
    chunk: int = 16
    """Images at once."""

    def __post_init__(self) -> None:
        """Checks the numbers.

        Raises:
            ValueError: one is too small, or too large.
        """
        check_counts(0, candidates=self.candidates)
        check_counts(1, keep=self.keep, chunk=self.chunk, max_new_tokens=self.max_new_tokens)
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}; expected a probability in (0, 1]")

    @property
    def drawn(self) -> Drawn:
        """How candidates are drawn."""
        return Drawn(num=self.candidates, top_p=self.top_p, max_new_tokens=self.max_new_tokens)


@final
@dataclass(frozen=True, kw_only=True)
class Caption:
    """A candidate."""

    id: str
    """Of the row that holds it, or of one made from the image's first."""
    text: str
    source: Source
    task: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """What that row knows."""
    score: float = 0.0


@final
@dataclass(frozen=True, kw_only=True)
class Filtered:
    """What became of captions."""

    original: int
    """Of the file's own, those that stay."""
    generated: int
    """Of the written ones, those that stay."""
    cut: int
    """Written ones that came to no end, and were left out."""


def filter_captions(
    samples: Sequence[Sample],
    output: Path,
    *,
    captioner: Captioner | None,
    judge: Judge,
    settings: Settings,
    image_root: Path,
    console: Console | None = None,
) -> Filtered:
    """Writes a data file with the best captions of each image; goes on where it was left.

    Paper: BLIP, arXiv 2201.12086, section 3.3; the choice of the best few is BLIP-2's, arXiv
        2301.12597, section 3.4.

    Args:
        samples: of one image each, whose answers are its captions.
        output: JSON lines of messages. A row has id, task and `meta` of the one that it comes from,
            a caption that was written those of the image's first; beside them in `meta` stand its
            score and source. What made the file stands next to it, as `.provenance.json`.
        captioner: writes candidates; None chooses among those that are there.
        judge: scores them.
        settings: how many.
        image_root: that the paths in the file start from.
        console: where a bar shows how far it is.

    Raises:
        ValueError: the settings are not for this captioner, or the output was begun with other
            settings, models or images.
        Fault: a sample shows no image, or several.
    """
    writer = checked_writer(captioner, settings)
    given = _by_image(samples)
    about = {
        "settings": settings.to_dict(),
        "judge": judge.identity,
        "captioner": writer.identity if writer else None,
        "images": digest_of(
            [_row(path, caption, image_root) for path, own in given.items() for caption in own]
        ),
    }
    progress = output.with_suffix(".progress.json")
    state = _begun(output, progress, about)
    parts = chunks(list(given), settings.chunk)
    with output.open("ab") as file:
        for number, paths in track(
            list(enumerate(parts))[state["chunks"] :],
            description="captions",
            console=console,
            transient=True,
            disable=console is None,
        ):
            candidates = {path: given[path] for path in paths}
            if writer:
                candidates, cut = _with_written(candidates, number, writer, settings)
                state["cut"] += cut
            kept = _best(candidates, judge, settings.keep)
            lines = [
                json.dumps(_row(path, caption, image_root), ensure_ascii=False)
                for path, captions in kept.items()
                for caption in captions
            ]
            file.write("".join(f"{line}\n" for line in lines).encode())
            file.flush()
            os.fsync(file.fileno())
            sources = Counter(each.source for captions in kept.values() for each in captions)
            for source, count in sources.items():
                state[source] += count
            state |= {"chunks": number + 1, "bytes": file.tell()}
            _write(progress, {"about": about, "state": state})
    kept_by_source = {source: state[source] for source in get_args(Source)}
    made = {
        **about,
        "models": {"judge": judge.name, "captioner": writer.name if writer else None},
        "kept": kept_by_source,
        "cut": state["cut"],
    }
    _write(output.with_suffix(".provenance.json"), made)
    progress.unlink(missing_ok=True)
    return Filtered(**kept_by_source, cut=state["cut"])


def checked_writer(captioner: Captioner | None, settings: Settings) -> Writer | None:
    """Returns who writes candidates, None where none are to be written.

    Args:
        captioner: the model and its processor.
        settings: how many, and how long.

    Raises:
        ValueError: there is a captioner and nothing for it to write, or the other way round, or its
            captions cannot be so long, or it reads no prompt.
    """
    if (captioner is None) != (settings.candidates == 0):
        raise ValueError(
            f"candidates is {settings.candidates}, and there is "
            f"{'no' if captioner is None else 'a'} captioner; give both, or neither"
        )
    if captioner is None:
        return None
    writer = writer_of(captioner, prompt=settings.prompt)
    room = writer.room()
    if room is not None and room < settings.max_new_tokens:
        raise ValueError(
            f"max_new_tokens is {settings.max_new_tokens}, and the captioner has room for {room} "
            "tokens; give as many or fewer"
        )
    return writer


def _with_written(
    candidates: Mapping[Path, Sequence[Caption]],
    number: int,
    writer: Writer,
    settings: Settings,
) -> tuple[dict[Path, list[Caption]], int]:
    """Returns some images' captions with those that are written, and how many came to no end."""
    torch.manual_seed(Random(f"capfilt/{settings.seed}/{number}").getrandbits(63))
    written = writer.write(list(candidates), settings.drawn)
    every = {
        path: [*own, *_generated(own, texts)]
        for (path, own), texts in zip(candidates.items(), written, strict=True)
    }
    return every, len(written) * settings.candidates - sum(map(len, written))


def _generated(own: Sequence[Caption], texts: Sequence[str]) -> list[Caption]:
    """Returns what was written of an image, but for what its own captions say."""
    there = {"", *(caption.text for caption in own)}
    new = [text for text in dict.fromkeys(texts) if text not in there]
    return [
        replace(own[0], id=f"{own[0].id}#generated-{number}", text=text, source="generated")
        for number, text in enumerate(new, start=1)
    ]


def _best(
    candidates: Mapping[Path, Sequence[Caption]], judge: Judge, keep: int
) -> dict[Path, list[Caption]]:
    """Returns the best captions of some images, the very best first."""
    scores = iter(_scores(candidates, judge))
    return {
        path: sorted(
            (replace(caption, score=next(scores)) for caption in captions),
            key=lambda caption: -caption.score,
        )[:keep]
        for path, captions in candidates.items()
    }


def _scores(candidates: Mapping[Path, Sequence[Caption]], judge: Judge) -> list[float]:
    """Returns the score of each candidate, image after image."""
    texts = [caption.text for captions in candidates.values() for caption in captions]
    owners = [n for n, captions in enumerate(candidates.values()) for _ in captions]
    pairs = torch.tensor([owners, list(range(len(texts)))]).T
    return judge.scores(list(candidates), texts, pairs)


def _by_image(samples: Sequence[Sample]) -> dict[Path, list[Caption]]:
    """Returns the captions of each image; of equal ones the first."""
    given: dict[Path, dict[str, Caption]] = {}
    for sample in samples:
        for pair in pairs_of(sample):
            caption = Caption(
                id=pair.id, text=pair.caption, source="original", task=sample.task, meta=sample.meta
            )
            given.setdefault(pair.image, {}).setdefault(pair.caption, caption)
    return {path: list(captions.values()) for path, captions in given.items()}


def _row(path: Path, caption: Caption, image_root: Path) -> dict[str, Any]:
    return {
        "id": caption.id,
        **({"task": caption.task} if caption.task else {}),
        "images": [path.relative_to(image_root).as_posix()],
        "messages": [
            {"role": "user", "content": [{"type": "image"}]},
            {"role": "assistant", "content": caption.text},
        ],
        "meta": {**caption.meta, "capfilt": {"source": caption.source, "score": caption.score}},
    }


def _begun(output: Path, progress: Path, about: Mapping[str, Any]) -> dict[str, int]:
    """Returns how far an earlier run came, and cuts off what it left half written."""
    state = {"chunks": 0, "bytes": 0, "original": 0, "generated": 0, "cut": 0}
    if not progress.exists():
        if output.exists():
            raise ValueError(f"{output} is there already; choose another file, or delete it")
        output.parent.mkdir(parents=True, exist_ok=True)
    else:
        kept = json.loads(progress.read_text(encoding="utf-8"))
        # One that came to nothing binds nobody: its settings may be what is mended now.
        if kept["about"] == about:
            state = kept["state"]
        elif kept["state"]["chunks"]:
            differing = [name for name, value in about.items() if kept["about"].get(name) != value]
            raise ValueError(
                f"{output} was begun with other {', '.join(differing)}; give the same again, or "
                "choose another file"
            )
    _write(progress, {"about": about, "state": state})
    with output.open("ab") as file:
        file.truncate(state["bytes"])
    return state


def _write(path: Path, value: Any) -> None:
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)
