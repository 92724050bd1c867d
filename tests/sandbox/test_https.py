"""Webhooks over TLS, to a server with a certificate that is made on the spot."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from receiver.sandbox.options import SandboxOptions
from receiver.sandbox.sandbox import Sandbox
from tests.sandbox.conftest import HandClock

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A file with key and certificate of `localhost`."""
    path = tmp_path / "localhost.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(path), "-out", f"{path}.crt"]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


@asynccontextmanager
async def endpoint(certificate: Path, seen: list[bytes]) -> AsyncIterator[int]:
    """The port of a server that takes every webhook."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _delivered(port: int) -> tuple[int, int]:
    """How many events a webhook took at once, and how many tries there were."""
    sandbox = Sandbox(SandboxOptions(webhook_url=f"https://localhost:{port}/x"), HandClock())
    try:
        sandbox.world.start(sandbox.world.create("x", ()))
        await sandbox.settle()
        webhook = sandbox.courier.webhooks[0]
        return webhook.delivered, webhook.attempts
    finally:
        await sandbox.close()


@pytest.mark.parametrize(("is_trusted", "expected"), [(True, (1, 1)), (False, (0, 1))])
async def test_webhooks_go_over_tls_to_whom_the_machine_trusts(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, is_trusted: bool, expected: tuple[int, int]
) -> None:
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
    seen: list[bytes] = []
    async with endpoint(certificate, seen) as port:
        assert await _delivered(port) == expected
    assert [head.split(b"\r\n")[0] for head in seen] == [b"POST /x HTTP/1.1"] * expected[0]
