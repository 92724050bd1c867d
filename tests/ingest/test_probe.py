"""The probe: recognised by the process that it is for, once, in time; and its answer proves what arrived."""

import json
import re

import pytest

from receiver.ingest.probe import Probe, ProbeAnswer, Probes, make_probe
from receiver.leadterra.signature import sign

NOW = 1_749_634_200_000
TOKEN = "token"


def asked(probe: Probe, body: bytes | None = None, now: int = NOW, *, signed: bool = True) -> ProbeAnswer | None:
    digests = [bytes.fromhex(probe.signature)] if signed else []
    content = Probes(TOKEN, lambda: now).answer(probe.body if body is None else body, digests)
    return None if content is None else ProbeAnswer.read(content)


def test_its_own_process_answers_with_proof() -> None:
    probe = make_probe(TOKEN, NOW)
    answer = asked(probe)
    assert answer is not None
    assert (probe.proves(answer), probe.arrived_whole(answer), answer.has_signature) == (True, True, True)


def test_the_body_is_json_that_a_strict_proxy_lets_through() -> None:
    assert json.loads(make_probe(TOKEN, NOW).body)["event"] == "receiver.probe"


def test_another_process_does_not_know_it() -> None:
    assert asked(make_probe("another token", NOW)) is None


def test_another_process_cannot_prove_anything() -> None:
    answer = asked(make_probe(TOKEN, NOW))
    assert answer is not None
    assert not make_probe(TOKEN, NOW).proves(answer)  # nor does an earlier answer


@pytest.mark.parametrize("change", [lambda body: json.dumps(json.loads(body)).encode(), bytes.strip])
def test_a_changed_body_is_proven_to_be_changed(change: object) -> None:
    probe = make_probe(TOKEN, NOW)
    answer = asked(probe, change(probe.body))  # type: ignore[operator] # either way of changing
    assert answer is not None
    assert (probe.proves(answer), probe.arrived_whole(answer)) == (True, False)


def test_a_dropped_signature_is_told() -> None:
    probe = make_probe(TOKEN, NOW)
    answer = asked(probe, signed=False)
    assert answer is not None
    assert (probe.proves(answer), answer.has_signature) == (True, False)


def test_a_claim_that_was_changed_on_the_way_back_proves_nothing() -> None:
    probe = make_probe(TOKEN, NOW)
    answer = asked(probe, signed=False)
    assert answer is not None
    assert not probe.proves(ProbeAnswer(answer.body_sha256, True, answer.proof))


@pytest.mark.parametrize("now", [NOW + 30_000, NOW - 1, NOW + 86_400_000])
def test_out_of_its_time_it_is_not_known(now: int) -> None:
    assert asked(make_probe(TOKEN, NOW), now=now) is None


def test_it_is_answered_once() -> None:
    probe, probes = make_probe(TOKEN, NOW), Probes(TOKEN, lambda: NOW)
    assert probes.answer(probe.body, []) is not None
    assert probes.answer(probe.body, []) is None
    assert probes.answer(make_probe(TOKEN, NOW).body, []) is not None


def test_what_was_answered_is_forgotten_when_it_is_out_of_time() -> None:
    times = [NOW]
    probes = Probes(TOKEN, lambda: times[0])
    for _ in range(5):
        assert probes.answer(make_probe(TOKEN, times[0]).body, []) is not None
        times[0] += 30_000
    assert len(probes._answered) == 1


@pytest.mark.parametrize("part", ["nonce", "expires_at", "mac"])
def test_no_part_of_it_can_be_chosen(part: str) -> None:
    body = json.loads(make_probe(TOKEN, NOW).body)
    value = body["data"][part]
    body["data"][part] = value - 1 if isinstance(value, int) else value[:-1] + ("0" if value[-1] != "0" else "1")
    assert asked(make_probe(TOKEN, NOW), json.dumps(body).encode()) is None


@pytest.mark.parametrize(
    "body",
    [
        b"receiver.probe",
        b'{"event":"receiver.probe"}',
        b'["receiver.probe"]',
        b'{"event":"receiver.probe","data":[]}',
        b'{"event":"receiver.probe","data":{"nonce":1,"expires_at":"x","mac":"zz"}}',
        b'{"event":"receiver.probe","data":{"nonce":null,"expires_at":[],"mac":null}}',
        b"receiver.probe" + b" " * 5000,
    ],
)
def test_other_bodies_are_no_probe(body: bytes) -> None:
    assert Probes(TOKEN, lambda: NOW).answer(body, []) is None


def test_the_answer_is_no_signature_over_what_was_asked() -> None:
    probe = make_probe(TOKEN, NOW)
    content = Probes(TOKEN, lambda: NOW).answer(probe.body, [])
    assert content is not None
    for found in re.findall(rb"[0-9a-f]{64}", content):
        assert bytes.fromhex(found.decode()) != sign(probe.key, probe.body)


@pytest.mark.parametrize("content", [b"", b"ok", b"[]", b"{}", b'{"receiver.probe":{"body_sha256":"x"}}', b"\xff"])
def test_another_answer_is_none(content: bytes) -> None:
    assert ProbeAnswer.read(content) is None
