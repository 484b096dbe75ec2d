"""An OpenAI client asks about an image: through `isthmus serve`, and through the stock server."""

import base64
import io
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from openai import OpenAI

import isthmus
from isthmus.cli import main
from tests.tiny import tiny_image

OURS = ["-m", "isthmus", "serve"]
STOCK = ["-m", "transformers.cli.transformers", "serve"]


@contextmanager
def server(command: list[str], folder: Path, cache: Path) -> Iterator[str]:
    """Yields the address of a server that answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, *command, str(folder), "--device", "cpu", "--host", "127.0.0.1"]
    process = subprocess.Popen(
        [*words, "--port", str(port)],
        env={**os.environ, "HF_HOME": str(cache), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(400):
            if process.poll() is not None:
                raise AssertionError(process.stdout.read() if process.stdout else "")
            try:
                urllib.request.urlopen(f"{address}/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.communicate(timeout=20)


@pytest.mark.slow
@pytest.mark.parametrize("command", [OURS, [*STOCK, "--trust-remote-code"]], ids=["ours", "stock"])
def test_a_client_gets_the_answer_of_generate(
    saved: Path, tmp_path: Path, command: list[str]
) -> None:
    image = tiny_image(5)
    file = io.BytesIO()
    image.save(file, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    words = {"type": "text", "text": "What is it?"}
    with (
        server(command, saved, tmp_path) as address,
        OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client,
    ):
        found = client.chat.completions.create(
            model=str(saved),
            messages=[
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": url}}, words],
                }
            ],
            max_tokens=6,
            temperature=0.0,
            extra_body={"generation_config": '{"do_sample": false, "max_new_tokens": 6}'},
        )
    model, processor = isthmus.load(saved)
    chat = [{"role": "user", "content": [{"type": "image", "image": image}, words]}]
    inputs = processor.apply_chat_template(
        chat, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    assert found.usage is not None
    assert found.usage.prompt_tokens == inputs["input_ids"].shape[1]
    written = model.generate(**inputs, max_new_tokens=6, do_sample=False)
    answer = processor.decode(written[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert found.choices[0].message.content == answer


def test_what_the_server_lacks_is_named(
    saved: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from isthmus.cli import serve

    monkeypatch.setattr(serve, "NEEDED", ("json", "no_such_package"))
    assert main(["serve", str(saved)]) == 2
    assert "needs no_such_package; install" in capsys.readouterr().err
    assert main(["serve"]) == 2
    assert "name the folder of a trained model" in capsys.readouterr().err
