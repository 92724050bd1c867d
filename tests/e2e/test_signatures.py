"""Every form of a right signature opens, every other answers one constant 401, and unsigned bodies are not parsed."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from receiver.leadterra.payloads import Parser
from tests.e2e.asgi import Receiver, opened_receiver
from tests.e2e.server import SECRET, WEBHOOK, Answer, Connection, Server, request, sent, sign, sign_base64

NAME = "X-Leadterra-Signature"
BODY = sent("signed", "camp_signatures")
GOOD = sign(BODY)
OTHER = sign(BODY, "another secret")
REFUSAL = (
    b'{"type":"about:blank","title":"Unauthorized","status":401,'
    b'"detail":"The signature is missing or matches no secret.","code":"signature_invalid"}'
)

ACCEPTED = {
    "hex": [GOOD],
    "upper case": [GOOD.upper()],
    "mixed case": [GOOD[:30].upper() + GOOD[30:]],
    "with its prefix": [f"sha256={GOOD}"],
    "prefix in any case": [f"SHA256={GOOD.upper()}"],
    "base64": [sign_base64(BODY)],
    "blanks around": [f"  {GOOD}\t"],
    "second header": [OTHER, GOOD],
    "first header": [GOOD, "nonsense"],
    "in a list": [f"{OTHER},{GOOD}"],
    "in a list with blanks": [f"{OTHER} , sha256={GOOD} ,"],
    "list in the second header": ["", f"x, {sign_base64(BODY)}"],
}

REFUSED = {
    "missing": [],
    "empty": [""],
    "other secret": [OTHER],
    "one bit altered": [f"{int(GOOD[0], 16) ^ 1:x}{GOOD[1:]}"],
    "truncated": [GOOD[:-1]],
    "half": [GOOD[:32]],
    "one digit more": [GOOD + "0"],
    "not hex": ["g" * 64],
    "not ASCII": ["é" * 64],
    "full-width digits in UTF-8": ["\uff11".encode().decode("latin-1") * 64],
    "5,000 characters": ["a" * 5000],
    "5,000 commas": ["," * 5000],
    "right one after 400 wrong ones": [",".join(["0" * 64] * 400 + [GOOD])],
    "prefix of another hash": [f"sha1={GOOD}"],
    "prefix twice": [f"sha256=sha256={GOOD}"],
    "prefix before base64": [f"sha256={sign_base64(BODY)}"],
    "base64 without padding": [sign_base64(BODY).rstrip("=")],
    "urlsafe base64": ["-_" * 21 + "A="],
    "quoted": [f'"{GOOD}"'],
    "blank inside": [f"{GOOD[:32]} {GOOD[32:]}"],
    "of the body without its last byte": [sign(BODY[:-1])],
    "of the empty body": [sign(b"")],
    "the secret itself": ["a throw-away secret"],
}


def post(client: Connection, values: list[str], body: bytes = BODY) -> Answer:
    return client.ask(request("POST", WEBHOOK, body, tuple(f"{NAME}: {value}" for value in values)))


@pytest.mark.parametrize("values", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_a_right_signature_opens_in_every_form(client: Connection, values: list[str]) -> None:
    assert post(client, values).status == 204


@pytest.mark.parametrize("values", REFUSED.values(), ids=REFUSED.keys())
def test_a_wrong_signature_answers_one_constant_401(client: Connection, values: list[str]) -> None:
    answer = post(client, values)
    assert (answer.status, answer.body) == (401, REFUSAL)
    assert "receiver-outcome" not in answer.headers


def test_a_refused_client_may_go_on_with_the_right_signature(client: Connection) -> None:
    assert [post(client, [OTHER]).status, post(client, [GOOD]).status] == [401, 204]


def test_every_single_bit_of_the_body_is_signed(client: Connection) -> None:
    altered = [BODY[:at] + bytes([BODY[at] ^ 1]) + BODY[at + 1 :] for at in range(len(BODY))]
    assert {post(client, [GOOD], body).status for body in altered} == {401}


def test_the_name_of_the_header_is_taken_in_any_case(client: Connection) -> None:
    answer = client.ask(request("POST", WEBHOOK, BODY, (f"x-LEADTERRA-signature: {GOOD}",)))
    assert answer.status == 204


class CountingParser(Parser):
    """Counts the bodies that come to it."""

    seen = 0

    def parse(self, body: bytes, now_ms: int | None) -> object:  # type: ignore[override] # passed on as it is
        self.seen += 1
        return super().parse(body, now_ms)


@pytest.fixture
async def counting(database: Path) -> AsyncIterator[tuple[Receiver, CountingParser]]:
    parser = CountingParser(b"key")
    async with opened_receiver(database, parser=parser) as receiver:
        yield receiver, parser


async def test_the_parser_never_sees_a_body_without_a_right_signature(
    counting: tuple[Receiver, CountingParser],
) -> None:
    receiver, parser = counting
    for values in REFUSED.values():
        headers = [(b"x-leadterra-signature", value.encode("latin-1")) for value in values]
        assert (await receiver.post(BODY, headers)).status == 401
    assert parser.seen == 0
    assert (await receiver.deliver(BODY)).status == 204
    assert parser.seen == 1


def test_each_of_several_secrets_opens_and_none_other(serve: Callable[..., Server]) -> None:
    server = serve(webhook__secrets='["old", "new"]')
    answers = [server_post(server, [sign(BODY, secret)]).status for secret in ("old", "new", SECRET)]
    assert answers == [204, 204, 401]


def server_post(server: Server, values: list[str]) -> Answer:
    with server.connect() as client:
        return post(client, values)
