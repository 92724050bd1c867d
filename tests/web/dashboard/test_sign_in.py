"""Signing in and out: a cookie that stands for a key, for pages of the receiver itself only."""

import re
from base64 import urlsafe_b64decode
from typing import Any

import httpx
import pytest
import structlog

from receiver.web.sessions import COOKIE, LIFETIME_S, Sessions
from tests.web.conftest import ADMIN, ANALYST, KEYS, Api, Start, digest

PAGE = {"Accept": "text/html,application/xhtml+xml"}
OWN = {"Sec-Fetch-Site": "same-origin"}


async def signed_in(api: Api, key: str = ANALYST, **headers: str) -> httpx.Response:
    return await api.ask("POST", "/sign-in", data={"key": key}, headers=OWN | headers)


def where(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.headers["location"]


async def test_a_key_begins_a_session_that_reads_what_the_key_reads(keyed: Api) -> None:
    response = await signed_in(keyed)
    assert where(response) == (303, "/")
    assert (await keyed.get("/v1/campaigns")).status_code == 200
    assert (await keyed.get("/")).status_code == 200
    assert (await keyed.ask("POST", "/v1/rebuild", headers=OWN)).status_code == 403


async def test_an_admins_session_may_act(keyed: Api) -> None:
    await signed_in(keyed, ADMIN)
    assert (await keyed.ask("POST", "/v1/rebuild", headers=OWN)).status_code == 202


async def test_the_cookie_is_for_the_server_alone(keyed: Api) -> None:
    cookie = (await signed_in(keyed)).headers["set-cookie"]
    assert re.fullmatch(rf"receiver_session=[\w=-]+; Path=/; Max-Age={LIFETIME_S}; HttpOnly; SameSite=Strict", cookie)


async def test_over_https_the_cookie_never_goes_elsewhere(keyed: Api) -> None:
    response = await keyed.client.post("https://127.0.0.1:8000/sign-in", data={"key": ANALYST})
    assert response.headers["set-cookie"].endswith("; Secure")


async def test_the_cookie_holds_the_keys_hash_and_never_the_key(keyed: Api) -> None:
    value = (await signed_in(keyed)).cookies[COOKIE].strip('"')
    assert bytes.fromhex(digest(ANALYST)) in urlsafe_b64decode(value)
    assert ANALYST.encode() not in urlsafe_b64decode(value)


async def test_signing_out_ends_it(keyed: Api) -> None:
    await signed_in(keyed)
    assert where(await keyed.ask("POST", "/sign-out", headers=OWN)) == (303, "/")
    assert (await keyed.get("/v1/campaigns")).status_code == 401
    assert where(await keyed.get("/")) == (303, "/sign-in")


@pytest.mark.parametrize("site", [None, "cross-site", "same-site", "none"])
async def test_a_session_acts_only_for_the_receivers_own_pages(keyed: Api, site: str | None) -> None:
    await signed_in(keyed, ADMIN)
    headers = {} if site is None else {"Sec-Fetch-Site": site}
    for path in ("/v1/rebuild", "/v1/quarantine/retry", "/sign-out"):
        assert (await keyed.ask("POST", path, headers=headers)).status_code == 403
    assert (await keyed.get("/v1/campaigns", headers=headers)).status_code == 200


async def test_a_key_that_is_sent_acts_from_anywhere(keyed: Api) -> None:
    await signed_in(keyed)
    headers = {"Authorization": f"Bearer {ADMIN}", "Sec-Fetch-Site": "cross-site"}
    assert (await keyed.ask("POST", "/v1/rebuild", headers=headers)).status_code == 202


async def test_a_wrong_key_is_not_helped_by_a_session(keyed: Api) -> None:
    await signed_in(keyed)
    assert (await keyed.get("/v1/campaigns", headers={"Authorization": "Bearer wrong"})).status_code == 401


async def test_no_other_site_signs_a_reader_in(keyed: Api) -> None:
    response = await keyed.ask("POST", "/sign-in", data={"key": ANALYST}, headers={"Sec-Fetch-Site": "cross-site"})
    assert response.status_code == 403
    assert "set-cookie" not in response.headers


async def test_a_wrong_key_is_told_on_the_page_and_as_a_problem(keyed: Api) -> None:
    page = await signed_in(keyed, "wrong-key", **PAGE)
    assert (page.status_code, page.headers["content-type"]) == (401, "text/html; charset=utf-8")
    assert "This is not an access key of this receiver." in page.text
    assert "wrong-key" not in page.text
    assert (await signed_in(keyed, "wrong-key")).json()["code"] == "unauthorized"


async def test_after_thirty_wrong_keys_only_the_right_one_is_heard(keyed: Api) -> None:
    for _ in range(30):
        assert (await signed_in(keyed, "wrong")).status_code == 401
    refused = await signed_in(keyed, "wrong", **PAGE)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert where(await signed_in(keyed)) == (303, "/")


@pytest.mark.parametrize(
    "body", [b"", b"key=", b"key=a&key=b", b"key=%ff", b"other=rcv_secret", b"key=rcv_secret&rcv_secret=1", b"\xff"]
)
async def test_a_form_that_is_none_is_refused_and_never_told_again(keyed: Api, body: bytes) -> None:
    response = await keyed.ask("POST", "/sign-in", content=body)
    assert response.status_code == 400
    assert "rcv_secret" not in response.text


async def test_a_form_beyond_the_limit_is_refused(start: Start) -> None:
    keyed = await start(**KEYS, RECEIVER_SERVER__BODY_LIMIT_BYTES="1024")
    assert (await signed_in(keyed, "x" * 1024)).status_code == 413


@pytest.mark.parametrize("forged", ["", "x", "é", "AAAA" * 24, 'a"b', "=" * 9])
async def test_a_cookie_of_somebody_elses_making_is_none(keyed: Api, forged: str) -> None:
    cookie = f"{COOKIE}={forged}".encode()
    answer = await keyed.client.get("/v1/campaigns", headers=[(b"Cookie", cookie)])
    assert answer.status_code == 401


async def test_any_changed_byte_of_the_cookie_ends_it(keyed: Api) -> None:
    value = (await signed_in(keyed)).cookies[COOKIE].strip('"')
    keyed.client.cookies.clear()
    for at in range(0, len(value) - 1, 7):
        changed = value[:at] + ("A" if value[at] != "A" else "B") + value[at + 1 :]
        answer = await keyed.client.get("/v1/campaigns", headers={"Cookie": f"{COOKIE}={changed}"})
        assert answer.status_code == 401, at
    assert (await keyed.client.get("/v1/campaigns", headers={"Cookie": f"{COOKIE}={value}"})).status_code == 200


async def test_a_restart_signs_nobody_out_but_a_key_that_is_gone(start: Start) -> None:
    cookies = (await signed_in(await start(**KEYS))).cookies
    again = await start(**KEYS)
    again.client.cookies = cookies
    assert (await again.get("/v1/campaigns")).status_code == 200
    without = await start(RECEIVER_ACCESS__ADMIN_KEYS=KEYS["RECEIVER_ACCESS__ADMIN_KEYS"])
    without.client.cookies = cookies
    assert (await without.get("/v1/campaigns")).status_code == 401


async def test_without_keys_there_is_nothing_to_sign_in_to(api: Api) -> None:
    assert where(await api.get("/sign-in")) == (303, "/")
    assert where(await signed_in(api)) == (303, "/")
    assert where(await api.ask("POST", "/sign-out")) == (303, "/")
    assert (await api.get("/")).status_code == 200


async def test_who_is_signed_in_goes_on_and_to_the_page_that_was_wanted(keyed: Api) -> None:
    wanted = "view=trust&timezone=Europe%2FBerlin"
    sent_away = await keyed.get(f"/?{wanted}")
    assert where(sent_away) == (303, "/sign-in?page=view%3Dtrust%26timezone%3DEurope%252FBerlin")
    form = (await keyed.get(sent_away.headers["location"])).text
    assert 'name="page" value="view=trust&amp;timezone=Europe%2FBerlin"' in form
    into = await keyed.ask("POST", "/sign-in", data={"key": ANALYST, "page": wanted}, headers=OWN)
    assert where(into) == (303, f"/?{wanted}")
    assert where(await keyed.get(sent_away.headers["location"])) == (303, f"/?{wanted}")


@pytest.mark.parametrize("page", ["//evil.example", "https://evil.example/", "a\r\nSet-Cookie: x=y"])
async def test_no_page_leads_away_from_the_receiver(keyed: Api, page: str) -> None:
    response = await keyed.ask("POST", "/sign-in", data={"key": ANALYST, "page": page}, headers=OWN)
    status, location = where(response)
    assert (status, location.startswith("/?") or location == "/") == (303, True)
    assert "x=y" not in response.headers["set-cookie"]


async def test_behind_a_path_everything_stays_there(start: Start) -> None:
    keyed = await start(**KEYS, RECEIVER_SERVER__ROOT_PATH="/receiver")
    assert where(await keyed.get("/")) == (303, "/receiver/sign-in")
    assert "; Path=/receiver;" in (await signed_in(keyed)).headers["set-cookie"]
    assert 'src="/receiver/static/' in (await keyed.get("/sign-in")).text
    assert "; Path=/receiver; Max-Age=0" in (await keyed.ask("POST", "/sign-out", headers=OWN)).headers["set-cookie"]


async def test_the_key_is_in_no_page_no_log_and_no_address(keyed: Api) -> None:
    with structlog.testing.capture_logs() as logs:
        responses = [await signed_in(keyed, key, **PAGE) for key in ("rcv_wrong", ANALYST)]
        responses.append(await keyed.get("/"))
    told: list[Any] = [logs, *[response.text for response in responses], *[r.headers for r in responses]]
    assert "rcv_wrong" not in str(told)
    assert ANALYST not in str(told)


async def test_pages_let_nothing_in_from_outside(keyed: Api) -> None:
    page = await keyed.get("/sign-in")
    assert page.headers["content-security-policy"] == (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"


async def test_a_refused_page_is_a_page_for_readers_and_a_problem_for_programs(admin: Api) -> None:
    page = await admin.get("/?view=nothing", headers=PAGE)
    assert (page.status_code, page.headers["content-type"]) == (400, "text/html; charset=utf-8")
    assert "&#39;view&#39; is &#39;nothing&#39;; use overview, campaign or trust." in page.text
    assert (await admin.get("/?view=nothing")).json()["parameter"] == "view"
    assert (await admin.get("/?view=campaign", headers=PAGE)).status_code == 400
    assert (await admin.get("/?view=campaign&campaign_id=x", headers=PAGE)).status_code == 404


async def test_a_static_file_is_kept_for_ever_under_its_hash(keyed: Api) -> None:
    link = re.findall(r'href="(/static/\w+/dashboard\.css)"', (await keyed.get("/sign-in")).text)[0]
    file = await keyed.get(link)
    assert file.headers["content-type"] == "text/css; charset=utf-8"
    assert file.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert file.headers["x-content-type-options"] == "nosniff"
    again = await keyed.get(link, headers={"If-None-Match": file.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", file.headers["etag"])


@pytest.mark.parametrize("name", ["nothing.css", "..%2fpages.py", "%2e%2e", "dashboard.css%00", "../../app.py"])
async def test_no_path_reaches_the_disk(keyed: Api, name: str) -> None:
    version = re.findall(r"/static/(\w+)/", (await keyed.get("/sign-in")).text)[0]
    assert (await keyed.get(f"/static/{version}/{name}")).status_code == 404
    assert (await keyed.get("/static/0000000000000000/dashboard.css")).status_code == 404


def test_the_session_ends_by_itself() -> None:
    now = [1_000.0]
    sessions = Sessions(b"key", lambda: now[0])
    cookie = f"{COOKIE}={sessions.issue(b'd' * 32)}".encode()
    now[0] += LIFETIME_S - 1
    assert sessions.key_digest(cookie) == b"d" * 32
    now[0] += 1
    assert sessions.key_digest(cookie) is None
    assert Sessions(b"other", lambda: 0.0).key_digest(cookie) is None
