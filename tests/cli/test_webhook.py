"""`webhook register`: against the sandbox, and what can stand between Leadterra and the receiver."""

import json
import shutil
import socket
import sqlite3
import ssl
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli.conftest import SECRET, Database, Run, Server
from tests.cli.test_database import held
from tests.cli.test_sandbox import running
from tests.e2e.server import until

PATH = "/webhooks/leadterra"
EVENTS = ["campaign.started", "message.bounced", "message.sent", "reply.received"]
KEY = "sk_test_webhook"


class Web:
    """Answers every POST as the test says, and remembers what came."""

    def __init__(self, answer: Callable[[BaseHTTPRequestHandler, bytes], tuple[int, dict[str, str], bytes]]) -> None:
        self.bodies: list[bytes] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.bodies.append(body)
                status, headers, content = answer(self, body)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def constant(status: int, content: bytes = b"", **headers: str) -> Web:
    return Web(lambda _handler, _body: (status, headers, content))


def registry(meanwhile: Callable[[], object] = lambda: None, /, **more: Any) -> Web:
    """Leadterra's own side; `meanwhile` happens before it answers."""

    def answer(_handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict[str, str], bytes]:
        meanwhile()
        number = len(found.bodies)
        return 201, {}, json.dumps({"id": f"wh_{number}", "status": "active", **json.loads(body), **more}).encode()

    found = Web(answer)
    return found


def passing_on(server: Server, change: Callable[[bytes], bytes] = bytes, *, signature: bool = True) -> Web:
    """A proxy."""

    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict[str, str], bytes]:
        headers = {"X-Leadterra-Signature": handler.headers["X-Leadterra-Signature"]} if signature else {}
        with httpx.Client(trust_env=False) as client:
            response = client.post(server.url + handler.path, content=change(body), headers=headers)
        return response.status_code, {}, response.content

    return Web(answer)


@pytest.fixture
def leadterra() -> Iterator[Web]:
    with opened(registry()) as found:
        yield found


@contextmanager
def opened(web: Web) -> Iterator[Web]:
    try:
        yield web
    finally:
        web.close()


def settings(leadterra: Web, **more: str) -> dict[str, str]:
    return {"RECEIVER_LEADTERRA__BASE_URL": leadterra.base, "RECEIVER_LEADTERRA__API_KEY": KEY, **more}


def told(result: Any) -> str:
    return str(result.stderr)


def test_registered_with_the_sandbox_its_events_are_counted(
    run: Run, start: Callable[..., Server], tmp_path: Path
) -> None:
    secret = ("--webhook-secret", SECRET.decode())
    with (
        running(tmp_path, "--api-key", KEY, "--speed", "3600", *secret) as (base, _process, _log),
        httpx.Client(base_url=base, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False) as api,
    ):
        given = {"RECEIVER_LEADTERRA__BASE_URL": base, "RECEIVER_LEADTERRA__API_KEY": KEY}
        server = start(**given)
        result = run("webhook", "register", "--url", server.url + PATH, "--json", **given)
        assert result.exit_code == 0, told(result)
        answer = json.loads(result.stdout)
        assert (sorted(answer["events"]), answer["new"], answer["checked"]) == (EVENTS, True, True)
        steps = [{"subject": "Hi", "bodyHtml": "x"}]
        campaign = api.post("/v1/campaigns", json={"name": "x", "sequenceSteps": steps}).json()["id"]
        api.post(f"/v1/campaigns/{campaign}/leads/bulk", json={"leads": [{"email": "jo@x.org"}]})
        api.post(f"/v1/campaigns/{campaign}/start")

        def counted() -> bool:
            with httpx.Client(trust_env=False) as client:
                found = client.get(f"{server.url}/v1/campaigns/{campaign}").json()
            observed = found.get("observed", {})
            return (observed.get("sent"), observed.get("starts")) == (1, 1)

        until(counted, "the campaign's events")
        assert server.stop() == 0
        assert "missing_next" not in start(**given).log()


def test_a_probe_is_counted_nowhere(run: Run, server: Server, leadterra: Web, tmp_path: Path) -> None:
    result = run("webhook", "register", "--url", server.url + PATH, **settings(leadterra))
    assert result.exit_code == 0, told(result)
    words = f"A probe of {server.url}{PATH} arrived unchanged at this receiver (asked from this machine).\n"
    assert told(result).startswith(words)
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        metrics = client.get("/metrics").text
        assert client.get("/v1/quarantine").json()["data"] == []
    counts = [line for line in metrics.splitlines() if line.startswith("receiver_deliveries_total")]
    assert {line.split()[1] for line in counts} == {"0.0"}
    assert not (tmp_path / "receiver.db.rejected").exists()


def test_a_second_time_says_so_and_asks_leadterra_nothing(run: Run, server: Server, leadterra: Web) -> None:
    command = ("webhook", "register", "--url", server.url + PATH)
    first = run(*command, **settings(leadterra))
    second = run(*command, "--json", **settings(leadterra))
    assert (first.exit_code, second.exit_code, len(leadterra.bodies)) == (0, 0, 1)
    assert (json.loads(second.stdout)["webhook_id"], json.loads(second.stdout)["new"]) == ("wh_1", False)
    assert "Registered already, on 20" in told(second)
    assert run(*command, "--again", **settings(leadterra)).exit_code == 0
    assert len(leadterra.bodies) == 2


def test_another_leadterra_or_another_url_is_another_registration(run: Run, server: Server, leadterra: Web) -> None:
    for path in (PATH, f"{PATH}/"):
        assert run("webhook", "register", "--url", server.url + path, **settings(leadterra)).exit_code == 0
    with opened(registry()) as other:
        assert run("webhook", "register", "--url", server.url + PATH, **settings(other)).exit_code == 0
        assert (len(leadterra.bodies), len(other.bodies)) == (2, 1)


def test_without_a_server_it_registers_only_unchecked(run: Run, database: Database, leadterra: Web) -> None:
    database.fill()
    command = ("webhook", "register", "--url", f"http://127.0.0.1:9{PATH}")
    result = run(*command, **settings(leadterra))
    assert (result.exit_code, leadterra.bodies) == (1, [])
    assert told(result).endswith("start `serve`, or say --no-check. Nothing was registered.\n")
    result = run(*command, "--no-check", **settings(leadterra))
    assert (result.exit_code, len(leadterra.bodies)) == (0, 1)
    assert database.rows("SELECT webhook_id FROM webhooks") == [("wh_1",)]


def test_its_default_is_the_public_url(run: Run, server: Server, leadterra: Web) -> None:
    given = settings(leadterra, RECEIVER_SERVER__PUBLIC_URL=server.url)
    assert run("webhook", "register", **given).stdout.split()[1] == server.url + PATH


def test_without_a_url_it_says_how_to_name_one(run: Run, leadterra: Web) -> None:
    result = run("webhook", "register", **settings(leadterra))
    assert result.exit_code == 2
    assert "--url https://…/webhooks/leadterra, or set 'server.public_url'." in told(result)


@pytest.mark.parametrize(
    "url",
    [
        "http://figures.example.com/webhooks/leadterra",
        "ftp://figures.example.com/x",
        "figures.example.com",
        "https://user:pw@figures.example.com/x",
        "https:///x",
        "https://figures.example.com:0/x",
        "https://figures.example.com:x/x",
        "https://[::1/x",
        "https://figures.example.com/ x",
    ],
)
def test_a_url_that_leadterra_would_not_take_is_wrong_usage(run: Run, leadterra: Web, url: str) -> None:
    assert run("webhook", "register", "--url", url, "--no-check", **settings(leadterra)).exit_code == 2
    assert leadterra.bodies == []


def test_http_is_for_a_leadterra_on_this_machine_only(run: Run) -> None:
    given = {"RECEIVER_LEADTERRA__API_KEY": KEY}
    result = run("webhook", "register", "--url", f"http://127.0.0.1:8000{PATH}", **given)
    assert result.exit_code == 2
    assert "is http; use https, Leadterra posts nowhere else." in told(result)


def test_without_an_api_key_the_configuration_is_bad(run: Run) -> None:
    result = run("webhook", "register", "--url", f"https://figures.example.com{PATH}")
    assert result.exit_code == 78
    assert told(result).startswith("Setting 'leadterra.api_key' is not set, so no webhook can be registered;")


# What Leadterra answers.


def test_a_secret_that_leadterra_tells_goes_to_a_file_of_the_owner(run: Run, server: Server, tmp_path: Path) -> None:
    with opened(registry(secret="whsec_canary")) as leadterra:
        result = run("webhook", "register", "--url", server.url + PATH, "--json", **settings(leadterra))
    assert result.exit_code == 0
    file = Path(json.loads(result.stdout)["secret_file"])
    assert file.read_text() == "whsec_canary\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert str(file) in told(result)
    assert "whsec_canary" not in result.output + server.log()


@pytest.mark.parametrize("more", [{}, {"signingSecret": SECRET.decode()}])
def test_without_a_new_secret_there_is_no_file(
    run: Run, server: Server, tmp_path: Path, more: dict[str, str]
) -> None:
    with opened(registry(**more)) as leadterra:
        given = settings(leadterra, RECEIVER_WEBHOOK__SECRETS=json.dumps([SECRET.decode()]))
        result = run("webhook", "register", "--url", server.url + PATH, **given)
    assert ("is in 'webhook.secrets' already" in told(result)) == bool(more)
    assert ("Put the signing secret that Leadterra shows for it into" in told(result)) != bool(more)
    assert list(tmp_path.glob("*webhook-secret*")) == []


def test_the_secret_has_its_place_on_the_disk_before_leadterra_is_asked(
    run: Run, server: Server, tmp_path: Path
) -> None:
    sizes: list[int] = []

    def look() -> None:
        sizes.extend(file.stat().st_size for file in tmp_path.glob("*webhook-secret*"))

    with opened(registry(look, secret="whsec_" + "x" * 500)) as leadterra:
        assert run("webhook", "register", "--url", server.url + PATH, **settings(leadterra)).exit_code == 0
    (file,) = tmp_path.glob("*webhook-secret*")
    assert [file.stat().st_size <= size for size in sizes] == [True]


def test_a_webhook_that_cannot_be_noted_is_named(run: Run, database: Database, tmp_path: Path) -> None:
    database.fill()
    with closing(sqlite3.connect(database.path, isolation_level=None, check_same_thread=False)) as other:
        with opened(registry(lambda: other.execute("BEGIN IMMEDIATE"), secret="whsec_canary")) as leadterra:
            command = ("webhook", "register", "--url", f"http://127.0.0.1:9{PATH}", "--no-check")
            result = run(*command, **settings(leadterra))
        other.execute("ROLLBACK")
    (file,) = tmp_path.glob("*webhook-secret*")
    assert (result.exit_code, file.read_text()) == (1, "whsec_canary\n")
    words = "Leadterra registered wh_1, but it could not be noted here; do not register it again. Its signing secret"
    assert told(result).startswith(words)
    assert str(file) in told(result)


def test_leadterras_refusal_ends_with_1_and_notes_nothing(run: Run, server: Server, database: Database) -> None:
    with opened(constant(401, b'{"error":{"code":"authentication_failed"}}')) as leadterra:
        result = run("webhook", "register", "--url", server.url + PATH, **settings(leadterra))
    assert (result.exit_code, result.stdout) == (1, "")
    assert KEY not in result.output
    assert database.rows("SELECT count(*) FROM webhooks") == [(0,)]
    assert list(database.path.parent.glob("*webhook-secret*")) == []


def test_an_answer_that_says_nothing_leaves_a_doubt(run: Run, server: Server) -> None:
    with opened(constant(200, b"<html>")) as leadterra:
        result = run("webhook", "register", "--url", server.url + PATH, **settings(leadterra))
    assert result.exit_code == 1
    assert told(result).endswith(" It may be registered all the same: look at Leadterra before you try again.\n")


def test_fewer_events_than_asked_for_are_a_warning(run: Run, server: Server) -> None:
    with opened(registry(events=["message.sent"])) as leadterra:
        result = run("webhook", "register", "--url", server.url + PATH, **settings(leadterra))
    assert "Warning: Leadterra took it for message.sent only." in told(result)


def test_a_holder_that_is_no_server_is_named_before_leadterra_is_told(
    run: Run, database: Database, leadterra: Web
) -> None:
    database.fill()
    with held(database):
        result = run("webhook", "register", "--url", f"http://127.0.0.1:9{PATH}", "--no-check", **settings(leadterra))
    assert (result.exit_code, leadterra.bodies) == (1, [])


# What stands between.


def refused(run: Run, leadterra: Web, url: str, **more: str) -> str:
    """Why a URL is not registered."""
    result = run("webhook", "register", "--url", url, **settings(leadterra, **more))
    assert (result.exit_code, result.stdout, leadterra.bodies) == (1, "", [])
    assert told(result).endswith(" Nothing was registered.\n")
    return told(result)


def test_a_name_without_address(run: Run, server: Server, leadterra: Web) -> None:
    assert "'nowhere.invalid' has no address (" in refused(run, leadterra, f"https://nowhere.invalid{PATH}")


def test_a_refused_connection(run: Run, server: Server, leadterra: Web) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    words = f"'http://127.0.0.1:{port}/' cannot be reached: the connection is refused; check host and port"
    assert refused(run, leadterra, f"http://127.0.0.1:{port}/").startswith(words)


def test_what_is_not_http(run: Run, server: Server, leadterra: Web) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def answer() -> None:
            other, _ = listener.accept()
            other.sendall(b"220 mail.example.com ESMTP\r\n")
            other.close()

        threading.Thread(target=answer, daemon=True).start()
        words = refused(run, leadterra, f"http://127.0.0.1:{listener.getsockname()[1]}/")
    assert "cannot be reached: " in words


def test_https_where_there_is_none(run: Run, server: Server, leadterra: Web) -> None:
    words = refused(run, leadterra, server.url.replace("http:", "https:") + PATH)
    assert "check that https is served at this port" in words or "what answers is not HTTP" in words


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
def test_a_certificate_that_nobody_trusts(
    run: Run, server: Server, leadterra: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    files = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*make.split(), *files], check=True, capture_output=True)
    proxy = passing_on(server)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    proxy.server.socket = context.wrap_socket(proxy.server.socket, server_side=True)
    url = f"https://localhost:{proxy.server.server_port}{PATH}"
    with opened(proxy):
        assert "its certificate is not trusted here (" in refused(run, leadterra, url)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert run("webhook", "register", "--url", url, **settings(leadterra)).exit_code == 0


def test_the_wrong_path_of_the_right_receiver(run: Run, server: Server, leadterra: Web) -> None:
    words = refused(run, leadterra, f"{server.url}/webhook")
    assert "a receiver answers there, but not at this path; use '/webhooks/leadterra'" in words


def test_another_receiver(
    run: Run, server: Server, leadterra: Web, start: Callable[..., Server], tmp_path: Path
) -> None:
    other = start(RECEIVER_STORAGE__URL=f"sqlite:///{tmp_path / 'other.db'}")
    assert "a receiver answers there that did not make the probe" in refused(run, leadterra, other.url + PATH)


def test_one_that_repeats_an_earlier_answer(run: Run, server: Server, leadterra: Web) -> None:
    held_back: list[tuple[int, dict[str, str], bytes]] = []

    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if not held_back:
            with httpx.Client(trust_env=False) as client:
                response = client.post(server.url + PATH, content=body)
            held_back.append((200, {}, response.content))
        return held_back[0]

    with opened(Web(answer)) as web:
        refused(run, leadterra, web.base + PATH)
        assert "cannot prove to be this receiver" in refused(run, leadterra, web.base + PATH)


@pytest.mark.parametrize("change", [bytes.strip, lambda body: json.dumps(json.loads(body)).encode()])
def test_a_proxy_that_changes_the_body(run: Run, server: Server, leadterra: Web, change: Any) -> None:
    with opened(passing_on(server, change)) as proxy:
        words = refused(run, leadterra, proxy.base + PATH)
    assert "leads to this receiver, but something on the way changes the body" in words


def test_a_proxy_that_drops_the_signature(run: Run, server: Server, leadterra: Web) -> None:
    with opened(passing_on(server, signature=False)) as proxy:
        words = refused(run, leadterra, proxy.base + PATH)
    assert "something on the way drops the header X-Leadterra-Signature; let it through." in words


@pytest.mark.parametrize(
    ("status", "content", "words"),
    [
        (200, b"<html>Welcome", "(it answers 200): it is another program, which takes whatever comes"),
        (204, b"", "(it answers 204): it is another program"),
        (200, b"x" * 100_000, "(it answers 200): it is another program"),
        (200, b'{"code":["x"]}', "(it answers 200): it is another program"),
        (401, b"", "something in front of the receiver asks for credentials"),
        (404, b"not here", "there is nothing at this path; the receiver's is '/webhooks/leadterra'"),
        (405, b"", "whoever answers there takes no POST"),
        (502, b"", "the proxy does not reach the receiver"),
        (418, b"", "what answers there is not this receiver"),
    ],
)
def test_another_program(run: Run, server: Server, leadterra: Web, status: int, content: bytes, words: str) -> None:
    with opened(constant(status, content)) as web:
        assert words in refused(run, leadterra, web.base + PATH)


def test_a_redirect_is_named_and_not_followed(run: Run, server: Server, leadterra: Web) -> None:
    with opened(constant(308, Location=f"{server.url}{PATH}?{{x}}")) as web:
        words = refused(run, leadterra, web.base + PATH)
    assert f"(it answers 308): it redirects to '{server.url}{PATH}?{{x}}'; Leadterra may not follow" in words
