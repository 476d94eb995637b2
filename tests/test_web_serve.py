"""`atlas serve`: files that clash, a port in use, and a real server that answers and stops."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from click.testing import CliRunner

import atlas
from atlas.core.errors import NotAnAtlasError, RemoteError, SlugError
from web.server.command import serve
from web.server.serve import ListenError, serve_files
from web.site.app import open_atlases
from web.site.rate_limit import RateLimitError


def test_two_files_of_one_slug(tiny_llama_atlas, tmp_path):
    copy = shutil.copy(tiny_llama_atlas, tmp_path / "copy.duckdb")
    with pytest.raises(SlugError, match="both have the slug 'tiny-llama'; each atlas needs its own") as caught:
        open_atlases([tiny_llama_atlas, copy])
    assert str(copy) in str(caught.value)


def test_a_file_that_is_no_atlas(tmp_path):
    with pytest.raises(NotAnAtlasError, match="does not exist"):
        serve_files([tmp_path / "no.duckdb"], "127.0.0.1", 0, 1, 1)


def test_a_port_in_use(tiny_llama_atlas):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=rf"Cannot listen on 127.0.0.1:{port}: .*in use.*--port"):
            serve_files([tiny_llama_atlas], "127.0.0.1", port, 1, 1)


def test_a_host_that_is_not_ours(tiny_llama_atlas):
    with pytest.raises(ListenError, match=r"Cannot listen on 192\.0\.2\.1:0"):
        serve_files([tiny_llama_atlas], "192.0.2.1", 0, 1, 1)


def test_options_are_checked():
    runner = CliRunner()
    assert "Missing argument 'FILE...'" in runner.invoke(serve, []).output
    assert runner.invoke(serve, ["x.duckdb", "--port", "70000"]).exit_code == 2
    assert runner.invoke(serve, ["x.duckdb", "--workers", "0"]).exit_code == 2


def test_a_server_answers_and_stops(tiny_llama_atlas, tiny_gpt2_atlas):
    code = "from web.server.command import serve; serve()"
    arguments = [str(tiny_llama_atlas), str(tiny_gpt2_atlas), "--port", "0", "--workers", "2"]
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert line.startswith("Serving tiny-llama, tiny-gpt2 at http://127.0.0.1:")
        address = re.search(r"http://\S+", line)[0]
        for _ in range(6):  # both workers, sooner or later
            with urllib.request.urlopen(f"{address}healthz", timeout=60) as response:
                assert list(json.load(response)["atlases"]) == ["tiny-llama", "tiny-gpt2"]
    finally:
        process.send_signal(signal.SIGINT)
        process.stdout.close()
        status = process.wait(timeout=60)
    assert status == 0


def test_a_server_limits_requests_for_data(tiny_llama_atlas):
    code = "from web.server.command import serve; serve()"
    arguments = [str(tiny_llama_atlas), "--port", "0", "--workers", "1", "--rate-limit", "2/h"]
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        address = re.search(r"http://\S+", process.stdout.readline())[0]
        with atlas.open(address) as served:  # asks which atlas it is
            assert served.info.slug == "tiny-llama"
            with pytest.raises(RemoteError, match=r"refused: This site allows 2/h from an address\. Wait \d+ s\."):
                served.layers()
    finally:
        process.send_signal(signal.SIGINT)
        process.stdout.close()
        status = process.wait(timeout=60)
    assert status == 0


def test_a_rate_that_cannot_be_read(tiny_llama_atlas):
    with pytest.raises(RateLimitError, match="'often' is not a rate limit"):
        serve_files([tiny_llama_atlas], "127.0.0.1", 0, 1, 1, "often")
