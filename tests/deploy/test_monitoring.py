"""Alert rules, scrape configuration and Grafana board: every metric and label in them is one that /metrics shows."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.deploy.files import DEPLOY, program, text
from tests.e2e.server import Server, sent, until

RULES = [rule for group in yaml.safe_load(text("prometheus/alerts.yml"))["groups"] for rule in group["rules"]]
SCRAPE: dict[str, Any] = yaml.safe_load(text("prometheus/scrape.yml"))
BOARD: dict[str, Any] = json.loads(text("grafana/board.json"))
TARGETS = [(panel, target) for panel in BOARD["panels"] for target in panel["targets"]]
EXPRESSIONS = [rule["expr"] for rule in RULES] + [target["expr"] for _, target in TARGETS]
# What Prometheus itself adds.
UP = {"up": {"job": {"leadterra-receiver"}}}
JOB = {"job": {"leadterra-receiver", "$job"}}

Metrics = dict[str, dict[str, set[str]]]


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> Metrics:
    """Every series of a running server: by name, its labels and their values.

    In simulated time the first look for alarms, from which on their codes are shown, comes at once.
    """
    database = tmp_path_factory.mktemp("metrics") / "receiver.db"
    found: Metrics = {name: dict(labels) for name, labels in UP.items()}
    with Server(
        database, clock__start="2025-06-11T09:00:00Z", clock__speed=1000, leadterra__base_url="http://127.0.0.1:9"
    ) as server:
        assert server.post(sent("m1")).status == 204
        until(lambda: b"receiver_alarms{" in server.get("/metrics").body, "the codes of alarms")
        exposition = server.get("/metrics").body.decode()
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return found


def names(expression: str) -> set[str]:
    """The metrics of a PromQL expression: the words that are no function, keyword, label, text or duration."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]', "", expression)
    bare = re.sub(r"\b(by|without|on|ignoring) *\([^)]*\)", "", bare)
    words = re.findall(r"\b[a-zA-Z_:][\w:]*\b(?! *\()", bare)
    return set(words) - {"and", "or", "unless", "sum", "min", "max"} - {"e9", "e7"}


def matchers(expression: str) -> Iterator[tuple[str, str, str]]:
    """Every `metric{label="value"}` of an expression; of a list in a regular expression each value."""
    for metric, inside in re.findall(r"(\w+)\{([^}]*)\}", expression):
        for label, listed in re.findall(r'(\w+)[!=]~?"([^"]*)"', inside):
            yield from ((metric, label, each) for each in listed.split("|"))


def unknown(expression: str, metrics: Metrics) -> list[str]:
    """What an expression names and /metrics does not show."""
    wrong = [name for name in names(expression) if name not in metrics]
    for metric, label, value in matchers(expression):
        if value not in {**JOB, **metrics.get(metric, {})}.get(label, ()):
            wrong.append(f"{metric}{{{label}={value}}}")
    return wrong


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_everything_in_it_is_shown_by_the_receiver(expression: str, metrics: Metrics) -> None:
    assert names(expression) != set()
    assert unknown(expression, metrics) == []


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [
        ("rate(receiver_deliveries[5m]) > 0", ["receiver_deliveries"]),
        ("sum by (outcome) (reciever_deliveries_total) > 1e9", ["reciever_deliveries_total"]),
        ('receiver_alarms{code=~"refused|late"} > 0', ["receiver_alarms{code=late}"]),
        ('receiver_accepting{jobs="x"} and receiver_queue_events', ["receiver_accepting{jobs=x}"]),
    ],
)
def test_a_name_that_is_wrong_would_be_found(expression: str, wrong: list[str], metrics: Metrics) -> None:
    assert unknown(expression, metrics) == wrong


def test_labels_in_words_are_shown_too(metrics: Metrics) -> None:
    """`sum by (…)`, legends and the texts of alerts name labels without a value."""
    pairs = [(target["expr"], target["legendFormat"]) for _, target in TARGETS]
    pairs += [(rule["expr"], " ".join(rule["annotations"].values())) for rule in RULES]
    for expression, words in pairs:
        grouped = re.findall(r"\bby *\(([^)]*)\)", expression)
        named = {label.strip() for group in grouped for label in group.split(",")}
        named |= set(re.findall(r"\{\{ *(?:\$labels\.)?(\w+) *\}\}", words))
        shown = {label for name in names(expression) for label in metrics[name]}
        assert named <= shown, expression


def test_prometheus_accepts_the_configuration() -> None:
    """The rules are beside it, under the name that it says."""
    command = [program("promtool"), "check", "config", str(DEPLOY / "prometheus" / "scrape.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{len(RULES)} rules found" in done.stdout + done.stderr


def test_the_rules_fire_when_they_should_and_not_before() -> None:
    command = [program("promtool"), "test", "rules", str(Path(__file__).with_name("alerts_test.yml"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    assert {rule["labels"]["severity"] for rule in RULES} <= {"critical", "warning"}
    for rule in RULES:
        assert rule["annotations"].keys() == {"summary", "description"}


def test_the_job_is_the_one_that_the_rules_ask_for() -> None:
    (job,) = SCRAPE["scrape_configs"]
    assert job["job_name"] in UP["up"]["job"]
    assert job.keys().isdisjoint({"authorization", "metrics_path", "scheme"})


def test_metrics_need_no_key(database: Path) -> None:
    with Server(database, access__analyst_keys=json.dumps(["0" * 64])) as server:
        assert httpx.get(f"{server.url}/v1/campaigns", trust_env=False).status_code == 401
        assert httpx.get(f"{server.url}/metrics", trust_env=False).status_code == 200


def test_the_board_asks_the_data_source_that_is_chosen() -> None:
    variables = {variable["name"]: variable for variable in BOARD["templating"]["list"]}
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    assert variables["job"]["query"] == "label_values(receiver_accepting, job)"
    for panel, target in TARGETS:
        assert panel["datasource"] == target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_the_panels_of_the_board_have_titles_numbers_and_places_of_their_own() -> None:
    panels = BOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert max(x for x, _ in cells) < 24
        assert taken.isdisjoint(cells), panel["title"]
        taken |= cells
    assert {panel["type"] for panel in panels} == {"stat", "timeseries"}
