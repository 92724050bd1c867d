"""What the demo reads of the receiver, at moments when there is little to read."""

from pathlib import Path

import httpx

from receiver.app import Service
from receiver.demo.reading import read
from receiver.demo.view import line
from receiver.settings import load

NOON_MS = 1_749_643_200_000  # 2025-06-11T12:00:00Z


async def test_a_campaign_of_which_nothing_came_yet_can_be_shown(tmp_path: Path) -> None:
    environ = {
        "RECEIVER_STORAGE__URL": f"sqlite:///{tmp_path / 'receiver.db'}",
        "RECEIVER_WEBHOOK__SECRETS": '["demo-secret"]',
    }
    service = await Service.open(load(None, environ, {}).settings, "token")
    try:
        headers = {"Authorization": "Bearer token"}
        transport = httpx.ASGITransport(app=service.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
            assert (await client.post("/v1/campaigns", json={"campaign_id": "c"})).status_code == 201
            reading = await read(client)
    finally:
        await service.close()
    assert reading.names == {"c": "c"}
    assert line(reading, NOON_MS).endswith("1 campaigns: 0 sent, 0 bounced, 0 replied")
