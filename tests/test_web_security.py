"""What a hostile request can make the site say or do: hosts, paths, sizes, errors, and the headers of every answer."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys

import pytest
from click.testing import CliRunner

from web import create_app
from web.server.command import serve
from web.site import public_url
from web.site.public_url import PublicUrlError, read_public_url

PAGES = (
    "/",
    "/tiny-llama",
    "/tiny-llama/L1N2",
    "/tiny-llama/L1N2.json",
    "/tiny-llama/token/5",
    "/tiny-llama/L1N2.card.png",
    "/api/v1/atlases",
    "/api",
    "/search?q=a",
    "/static/atlas.css",
    "/robots.txt",
    "/sitemap.xml",
    "/healthz",
    "/tiny-llama/sql",
    "/nothing",
    "/tiny-llama/L99N1",
    "/tiny-llama/L1N2.json?limit=x",
    "/api/v1/nothing",
)


SENT = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
FRAMED = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors *"
"""What browsers are told, word for word: whoever changes it changes it here too, and means it."""


@pytest.fixture(scope="module")
def client(app):
    return app.test_client()


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_every_answer_has_the_headers_and_no_cookie(client, path, method):
    response = client.open(path, method=method)
    for name, value in SENT.items():
        assert response.headers.getlist(name) == [value]
    assert "Set-Cookie" not in response.headers
    assert "Server" not in response.headers or "Python" not in response.headers["Server"]


@pytest.mark.parametrize("path", ["/embed/tiny-llama/L1N2", "/embed/tiny-llama/L1N2/histogram", "/embed/nowhere/L1N2"])
def test_what_other_sites_may_frame_runs_nothing(client, path):
    response = client.get(path)
    assert response.headers.getlist("Content-Security-Policy") == [FRAMED]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize(
    "host",
    ["evil.example/path", "evil.example\\x", '"><script>alert(1)</script>', "a b", "evil.example?x", "x@evil.example"],
)
@pytest.mark.parametrize("path", ["/tiny-llama/L1N2", "/sitemap.xml", "/robots.txt", "/api", "/nothing"])
def test_a_host_that_is_none_is_never_repeated(client, host, path):
    response = client.get(path, headers={"Host": host})
    assert b"<script>alert" not in response.data
    assert b"evil.example" not in response.data
    assert "evil.example" not in response.headers.get("Location", "")


def test_redirects_stay_on_the_site(client):
    for path in ("//evil.example/", "/%2F%2Fevil.example/", "/\\evil.example/", "/tiny-llama/31.892", "/tiny-llama/"):
        response = client.get(path, headers={"Host": "evil.example"})
        target = response.headers.get("Location", "/")
        assert re.match(r"/(?![/\\])|/$", target), (path, target)
    # As a server hands it over: the client above takes two slashes for a host's name.
    response = client.get("/", environ_overrides={"PATH_INFO": "//evil.example/"})
    assert (response.status_code, response.headers["Location"]) == (301, "/evil.example")


def test_a_public_address_is_given_whatever_a_request_says(tiny_llama_atlas):
    app = create_app([tiny_llama_atlas])
    public_url.register(app, "https://atlas.example.org:8443")
    client = app.test_client()
    for path in ("/tiny-llama/L1N2", "/sitemap.xml", "/robots.txt", "/api"):
        response = client.get(path, headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"})
        assert response.status_code == 200
        assert b"https://atlas.example.org:8443/" in response.data
        assert b"evil.example" not in response.data


@pytest.mark.parametrize(
    "text",
    [
        "atlas.example.org",
        "ftp://a.example",
        "https://",
        "https://a.example/path",
        "https://u:p@a.example",
        "https://a.example?x",
        "https://a.example:99999",
        "https://a.example:x",
    ],
)
def test_a_public_address_that_is_none(text):
    with pytest.raises(PublicUrlError, match=r"is not the address of a site; expected http or https"):
        read_public_url(text)
    said = CliRunner().invoke(serve, ["no.duckdb", "--public-url", text])
    assert isinstance(said.exception, PublicUrlError)


@pytest.mark.parametrize("prefix", ["/static/", "/tiny-llama/", "/tiny-llama/tables/", "/embed/", "/"])
@pytest.mark.parametrize(
    "way",
    [
        "../app.py",
        "..%2fapp.py",
        "..%2f..%2fpyproject.toml",
        "%2e%2e/app.py",
        "....//app.py",
        "..\\app.py",
        "..%5capp.py",
        "%00",
        "atlas.css%00.png",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "..%252fapp.py",
        "a/../../app.py",
        "~root/.profile",
    ],
)
def test_no_path_leads_out_of_the_site(client, prefix, way):
    response = client.get(prefix + way)
    assert response.status_code in (301, 302, 308, 400, 404), response.status_code
    assert b"app factory" not in response.data
    assert b"[project]" not in response.data
    assert b"root:" not in response.data


def test_an_error_tells_nothing_of_the_server(tiny_llama_atlas):
    app = create_app([tiny_llama_atlas])  # not `testing`, which lets errors through

    @app.get("/broken")
    @app.get("/broken.json")
    def broken():
        raise RuntimeError("/secret/place is in a trace")

    client = app.test_client()
    app.logger.disabled = True
    page, data = client.get("/broken"), client.get("/broken.json")
    assert page.status_code == data.status_code == 500
    for response in (page, data):
        assert "secret" not in response.text
        assert "Traceback" not in response.text
        assert "RuntimeError" not in response.text
        assert response.headers["Content-Security-Policy"]
    assert data.json["error"]["code"] == "internal_error"


def test_large_bodies_are_refused(client):
    large = client.post("/tiny-llama/sql.json", data={"sql": "SELECT '" + "x" * 1_100_000 + "'"})
    assert large.status_code == 413
    assert large.json["error"]["code"] == "request_entity_too_large"


@pytest.fixture(scope="module")
def address(tiny_llama_atlas):
    """A real server's host and port."""
    code = "from web.server.command import serve; serve()"
    arguments = [str(tiny_llama_atlas), "--port", "0", "--workers", "1", "--no-sql"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        found = re.search(r"http://([^:]+):(\d+)", process.stdout.readline())
        yield found[1], int(found[2])
    finally:
        process.send_signal(signal.SIGINT)
        process.stdout.close()
        process.wait(timeout=60)


def said(address: tuple[str, int], request: bytes) -> bytes:
    """Whatever the server answers to some bytes, until it closes or has answered."""
    with socket.create_connection(address, timeout=60) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65_536):
            answer += piece
    return answer


@pytest.mark.parametrize(
    ("request_line", "headers", "status"),
    [
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1", b"Host: a\r\n", 414),
        (b"GET / HTTP/1.1", b"Host: a\r\nX: " + b"a" * 9000 + b"\r\n", 431),
        (b"GET / HTTP/1.1", b"Host: a\r\n" + b"".join(b"X%d: a\r\n" % number for number in range(200)), 431),
        (b"GET /<script>alert(1)</script> HTTP/9.9", b"Host: a\r\n", 400),
        (b"<script>alert(1)</script>", b"", 400),
        (b"GET / HTTP/1.1", b"Host: a\r\nContent-Length: x\r\n", 400),
        (b"GET / HTTP/1.1", b"Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n", 400),
    ],
)
def test_what_is_no_request_is_refused_with_the_headers(address, request_line, headers, status):
    head, _, body = said(address, request_line + b"\r\n" + headers + b"\r\n").partition(b"\r\n\r\n")
    assert int(head.split()[1]) == status
    lines = head.decode().split("\r\n")[1:]
    for name, value in SENT.items():
        assert [line for line in lines if line.lower().startswith(f"{name.lower()}:")] == [f"{name}: {value}"]
    assert b"<script>" not in body
    assert b"Traceback" not in body


def test_a_body_that_claims_to_be_large_is_not_waited_for(address):
    head = b"POST /tiny-llama/sql.json HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    head += b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 1099511627776\r\n\r\n"
    assert int(said(address, head + b"sql=1").split()[1]) == 413


def test_a_long_query_string_that_is_allowed(address):
    answer = said(address, b"GET /tiny-llama?q=" + b"a" * 7000 + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert int(answer.split()[1]) == 200


def test_health_says_no_path_of_the_server(address, tiny_llama_atlas):
    body = said(address, b"GET /healthz HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")[2]
    assert json.loads(body)["status"] == "ok"
    assert str(tiny_llama_atlas.parent).encode() not in body
