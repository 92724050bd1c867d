"""The signature matrix: every encoding that Leadterra's pages leave open, and everything that is not one."""

import base64
import subprocess

import pytest

from receiver.leadterra.signature import decode, matching_secret, sign

SECRET = b"whsec_1"
BODY = b'{"event":"message.sent"}'
DIGEST = sign(SECRET, BODY)
HEX = DIGEST.hex().encode()
BASE64 = base64.b64encode(DIGEST)
OTHER = sign(b"whsec_2", BODY).hex().encode()
FLIPPED = bytes([DIGEST[0] ^ 1, *DIGEST[1:]]).hex().encode()


def verified(*values: bytes, secrets: tuple[bytes, ...] = (SECRET,), body: bytes = BODY) -> int | None:
    return matching_secret(secrets, body, decode(values))


def test_the_signature_is_hmac_sha256_as_openssl_makes_it() -> None:
    command = ["openssl", "dgst", "-sha256", "-hmac", "whsec_1", "-hex"]
    made = subprocess.run(command, input=BODY, capture_output=True, check=True).stdout
    assert made.split()[-1] == HEX


@pytest.mark.parametrize(
    "values",
    [
        [HEX],
        [HEX.upper()],
        [HEX[:32] + HEX[32:].upper()],
        [b"sha256=" + HEX],
        [b"SHA256=" + HEX.upper()],
        [BASE64],
        [b" \t" + HEX + b" "],
        [OTHER, HEX],
        [HEX, OTHER],
        [OTHER + b"," + HEX],
        [OTHER + b" , sha256=" + HEX + b",rubbish"],
        [b"", HEX],
        ["é".encode("latin-1"), HEX],
        [b"x," * 15 + HEX],
    ],
)
def test_it_takes_every_known_form_of_a_good_signature(values: list[bytes]) -> None:
    assert verified(*values) == 0


@pytest.mark.parametrize(
    "values",
    [
        [],
        [b""],
        [b","],
        [FLIPPED],
        [OTHER],
        [OTHER, FLIPPED],
        [HEX[:-1]],
        [HEX[:-2]],
        [HEX + b"0"],
        [b"g" + HEX[1:]],
        [b"sha256=" + BASE64],
        [b"sha256=sha256=" + HEX],
        [b"sha1=" + HEX],
        [BASE64[:-1]],
        [BASE64 + b"="],
        [b"-" * 43 + b"="],
        [base64.b64encode(DIGEST[:31]) + b"===="],
        [b"A" * 42 + b"=="],
        ["é".encode("latin-1") * 64],
        ["é".encode() * 32],
        [b"\x00" * 64],
        ["４".encode() * 64],
        [b"a" * 5000],
        [b"," * 5000 + HEX],
        [b"x," * 16 + HEX],
    ],
)
def test_it_takes_nothing_else(values: list[bytes]) -> None:
    assert verified(*values) is None


def test_one_altered_bit_of_the_body_is_another_body() -> None:
    altered = bytes([BODY[0] ^ 1, *BODY[1:]])
    assert verified(HEX, body=altered) is None


def test_it_says_which_secret_signed() -> None:
    assert verified(OTHER, secrets=(SECRET, b"whsec_2")) == 1
    assert verified(OTHER, HEX, secrets=(SECRET, b"whsec_2")) == 0
    assert verified(HEX, secrets=()) is None


def test_only_sixteen_values_are_looked_at() -> None:
    assert len(decode([HEX] * 40)) == 16
    assert len(decode([b",".join([HEX] * 40)])) == 16


def test_the_empty_body_is_signed_too() -> None:
    assert verified(sign(SECRET, b"").hex().encode(), body=b"") == 0
