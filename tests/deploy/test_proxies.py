"""A real proxy with the shipped file before a running receiver: bodies, addresses and refusals go through it."""

import http.client
import json
import os
import re
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import annotated_types
import pytest

from receiver.settings.catalogue import FIELDS
from receiver.web.connections import ConnectionLimits
from receiver.web.exports import ExportLimits
from tests.deploy.files import program, text
from tests.e2e.server import PATIENCE_S, WEBHOOK, Server, rows, sent, sign, until

# Of loopback too, but not the address from which the proxy asks the receiver.
CLIENT = "127.0.0.2"
FORGED = "203.0.113.9"
NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/answers;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    include {folder}/receiver.conf;
}}
"""


class Proxy:
    """A proxy's port, and how to speak to it."""

    def __init__(self, port: int, folder: Path, *, tls: bool) -> None:
        self.port = port
        self.folder = folder
        self._tls = tls

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (in lower case) and body of the answer to a client at CLIENT."""
        source = (CLIENT, 0)
        connection: http.client.HTTPConnection
        if self._tls:
            trusted = ssl.create_default_context(cafile=str(self.folder / "fullchain.pem"))
            connection = http.client.HTTPSConnection(
                "localhost", self.port, source_address=source, context=trusted, timeout=PATIENCE_S
            )
        else:
            connection = http.client.HTTPConnection("localhost", self.port, source_address=source, timeout=PATIENCE_S)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def post(self, body: bytes, **headers: str) -> tuple[int, dict[str, str], bytes]:
        return self.ask("POST", WEBHOOK, body, X_Leadterra_Signature=sign(body), **headers)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionError:
        return False
    return True


@contextmanager
def running(command: list[str], port: int, folder: Path, upstream: str) -> Iterator[None]:
    """A proxy's process, from when its port answers. Caddy takes its site and its upstream from the environment."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "CADDY_"))}
    own = {"HOME": str(folder), "RECEIVER_SITE": f"http://localhost:{port}", "RECEIVER_UPSTREAM": upstream}
    with (
        (folder / "said").open("wb") as said,
        subprocess.Popen(command, env=bare | own, stderr=said) as process,
    ):
        try:
            until(lambda: answers(port) or process.poll() is not None, "the proxy's port")
            assert process.poll() is None, (folder / "said").read_text()
            yield
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


def certify(folder: Path) -> None:
    """A certificate of our own for `localhost`."""
    command = [
        program("openssl"),
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    command += ["-keyout", str(folder / "privkey.pem"), "-out", str(folder / "fullchain.pem")]
    subprocess.run(command, check=True, capture_output=True)


def nginx_configuration(folder: Path, port: int, upstream: str) -> Path:
    """The shipped file on an unprivileged port, with our certificate, in the least that nginx needs around it."""
    certify(folder)
    shipped = text("proxy/nginx.conf").replace("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;")
    shipped = shipped.replace("/etc/letsencrypt/live/figures.example.com", str(folder))
    (folder / "receiver.conf").write_text(shipped.replace("server 127.0.0.1:8000;", f"server {upstream};"))
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder))
    return folder / "nginx.conf"


def caddy_configuration(folder: Path) -> Path:
    """The shipped file, included in one that keeps Caddy on loopback."""
    (folder / "receiver.caddy").write_text(text("proxy/Caddyfile"))
    (folder / "Caddyfile").write_text(
        f"{{\n\tadmin off\n\tdefault_bind 127.0.0.1\n}}\nimport {folder}/receiver.caddy\n"
    )
    return folder / "Caddyfile"


@contextmanager
def before(server_port: int, kind: str, folder: Path) -> Iterator[Proxy]:
    """A proxy of this kind before the receiver at this port."""
    port, upstream = free_port(), f"127.0.0.1:{server_port}"
    if kind == "nginx":
        command = [program("nginx"), "-e", str(folder / "error.log"), "-c"]
        command.append(str(nginx_configuration(folder, port, upstream)))
    else:
        command = [program("caddy"), "run", "--adapter", "caddyfile", "--config", str(caddy_configuration(folder))]
    with running(command, port, folder, upstream):
        yield Proxy(port, folder, tls=kind == "nginx")


Start = Callable[..., tuple[Proxy, Server]]


@pytest.fixture(params=["nginx", "caddy"])
def start(request: pytest.FixtureRequest, serve: Callable[..., Server], tmp_path: Path) -> Iterator[Start]:
    """Starts a receiver with these settings and a proxy before it."""
    folder = tmp_path / "proxy"
    folder.mkdir()
    opened = []

    def start(**settings: object) -> tuple[Proxy, Server]:
        program(request.param)
        server = serve(**settings)
        proxy = before(server.port, request.param, folder)
        opened.append(proxy)
        return proxy.__enter__(), server

    yield start
    for proxy in opened:
        proxy.__exit__(None, None, None)


def journal(server: Server) -> list[tuple[str, bytes]]:
    """The address and the body of every delivery."""
    return [
        (peer, bytes(body)) for peer, body in rows(server.database, "SELECT peer, body FROM journal ORDER BY seq")
    ]


def odd_body(size: int) -> bytes:
    """A good event in a form that nothing must touch, of about this many bytes."""
    filler = json.dumps({"note": "ü\\u0000 " * (size // 10)}, ensure_ascii=False)[1:-1]
    return b" \r\n" + sent("m1").replace(b'{"event"', b"{ \t" + filler.encode() + b',"event"') + b"\n\n"


@pytest.mark.parametrize("size", [0, 600_000])
def test_a_webhook_goes_through_byte_for_byte(start: Start, size: int) -> None:
    proxy, server = start()
    body = odd_body(size)
    status, headers, _ = proxy.post(body, Content_Type="application/json; charset=latin-1")
    assert (status, headers["receiver-outcome"]) == (204, "stored")
    assert [body for _, body in journal(server)] == [body]


def test_the_clients_address_is_known_behind_a_proxy_that_is_trusted(start: Start) -> None:
    proxy, server = start(server__trusted_proxies='["127.0.0.1"]')
    assert proxy.post(sent("m1"), X_Forwarded_For=FORGED)[0] == 204
    assert [peer for peer, _ in journal(server)] == [CLIENT]


def test_it_is_the_proxys_address_behind_one_that_is_not(start: Start) -> None:
    proxy, server = start()
    assert proxy.post(sent("m1"), X_Forwarded_For=FORGED)[0] == 204
    assert [peer for peer, _ in journal(server)] == ["127.0.0.1"]


def test_too_long_a_body_is_refused_by_the_receiver_which_counts_it(start: Start) -> None:
    """It closes on a body that it will not read; a proxy that still sends may lose its answer to that: 502."""
    proxy, server = start()
    status, _, _ = proxy.post(b"x" * (FIELDS["server.body_limit_bytes"].default + 1))
    assert status in (413, 502)
    assert b'receiver_deliveries_total{outcome="body_too_large"} 1.0' in server.get("/metrics").body


def test_figures_are_read_through_it_and_metrics_are_not(start: Start) -> None:
    proxy, server = start()
    assert proxy.post(sent("m1"))[0] == 204
    status, _, body = proxy.ask("GET", "/v1/campaigns/camp_1?x=", Host="localhost")
    assert (status, json.loads(body)["parameter"]) == (400, "x")
    assert proxy.ask("GET", "/v1/campaigns/camp_1")[0] == 200
    assert proxy.ask("GET", "/readyz")[0] == 200
    assert proxy.ask("GET", "/metrics")[0] == 404
    assert server.get("/metrics").status == 200


def test_a_receiver_that_is_down_is_no_success(start: Start) -> None:
    proxy, server = start()
    assert server.stop() == 0
    assert proxy.post(sent("m1"))[0] == 502


def test_nginx_keeps_no_body_on_disk(serve: Callable[..., Server], tmp_path: Path) -> None:
    with before(serve().port, "nginx", tmp_path) as proxy:
        watched = [proxy.folder / name for name in ("body", "answers")]
        before_it = [folder.stat().st_mtime_ns for folder in watched]
        assert proxy.post(odd_body(600_000))[0] == 204
        status, _, body = proxy.ask("GET", "/v1/events?format=csv")
        assert (status, body.count(b"\n")) == (200, 2)
        assert [folder.stat().st_mtime_ns for folder in watched] == before_it


def test_nginx_accepts_its_file(tmp_path: Path) -> None:
    configuration = nginx_configuration(tmp_path, free_port(), "127.0.0.1:8000")
    command = [program("nginx"), "-t", "-e", str(tmp_path / "error.log"), "-c", str(configuration)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr


def test_caddy_accepts_its_file_as_it_stands(tmp_path: Path) -> None:
    """With the name of the example, so with a certificate to get."""
    (tmp_path / "Caddyfile").write_text(text("proxy/Caddyfile"))
    command = [program("caddy"), "validate", "--adapter", "caddyfile", "--config", str(tmp_path / "Caddyfile")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert "not formatted" not in done.stderr


def numbers(file: str, directive: str) -> list[int]:
    """The numbers that a directive is given in a proxy's file."""
    return [int(found) for found in re.findall(rf"^\s*{directive} (\d+)", text(f"proxy/{file}"), re.MULTILINE)]


def test_their_numbers_fit_the_receivers_own() -> None:
    (longest,) = [
        rule.le for rule in FIELDS["server.body_limit_bytes"].metadata if isinstance(rule, annotated_types.Le)
    ]
    assert [count * 1_048_576 for count in numbers("nginx.conf", "client_max_body_size")] == [longest]
    for kept in (numbers("nginx.conf", "keepalive_timeout"), numbers("Caddyfile", "keepalive")):
        assert kept[0] < ConnectionLimits().idle_timeout_s
    body_s, commit_s = FIELDS["server.body_timeout_s"].default, FIELDS["ingest.commit_timeout_s"].default
    webhook_s, reading_s = numbers("nginx.conf", "proxy_read_timeout")
    assert webhook_s > body_s + commit_s
    assert numbers("nginx.conf", "client_body_timeout")[0] > body_s
    assert min(reading_s, *numbers("Caddyfile", "response_header_timeout")) > ExportLimits().read_s
