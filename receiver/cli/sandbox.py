"""`sandbox`: plays Leadterra on this machine."""

import asyncio
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import uvloop

from receiver.cli.options import NumberRange, config_option, load_settings, say
from receiver.leadterra.payloads import epoch_ms
from receiver.log import configure_logging
from receiver.sandbox import bodies
from receiver.sandbox.faults import Rule, read_script, share_rule
from receiver.sandbox.options import Habits, SandboxOptions
from receiver.sandbox.problems import RefusedError
from receiver.sandbox.sandbox import Sandbox
from receiver.sandbox.server import serve

_DAY_MS = 86_400_000
# A clock that goes faster begins this long ago, so that nothing is in the future of those who take the webhooks.
_START_DAYS_AGO = 30
_EARLIEST_MS = 1_420_070_400_000  # 2015-01-01T00:00:00Z: who takes the webhooks may believe nothing before


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _start(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    at_ms = epoch_ms(value)
    if at_ms is None:
        raise click.BadParameter(f"{value!r} is not a time; use RFC 3339 with offset, such as 2025-06-01T00:00:00Z.")
    if not _EARLIEST_MS <= at_ms <= _now_ms():
        raise click.BadParameter(f"{value!r} is not between 2015 and now; use a time that has passed.")
    return at_ms


def _faults(_ctx: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> tuple[Rule, ...]:
    try:
        return tuple(share_rule(value) for value in values)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _url(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    try:
        return bodies.url(value, "--webhook-url", http_anywhere=True)
    except RefusedError as error:
        raise click.BadParameter(str(error)) from error


def _api_key(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not (value.isascii() and value.isprintable() and value.strip() == value != ""):
        raise click.BadParameter("it is empty, or not plain ASCII; use what fits into a header.")
    return value


_SHARE = NumberRange(0, 1)
_HABITS = Habits()


@click.command()
@config_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8081, show_default=True, help="0 takes a free one.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed makes the same world.")
@click.option("--speed", type=NumberRange(1, 1_000_000), default=1.0, help="Simulated seconds in a real one.")
@click.option("--start", "start_ms", callback=_start, metavar="TIME", help="Where the clock begins (RFC 3339).")
@click.option("--api-key", callback=_api_key, help="Key that API calls must send; made up and printed unless given.")
@click.option("--webhook-url", callback=_url, help="Register this URL for every event from the start.")
@click.option("--webhook-secret", help="Signs the webhooks; made up and printed unless given.")
@click.option("--shapes", type=click.Choice(["reference", "guide", "concepts"]), default="reference")
@click.option("--message-sent-means", type=click.Choice(["submitted", "delivered"]), default="submitted")
@click.option("--bounced-means", type=click.Choice(["any", "hard"]), default="any")
@click.option("--retry-schedule", type=click.Choice(["cumulative", "absolute"]), default="cumulative")
@click.option("--restamp", is_flag=True, help="Retries carry a new timestamp.")
@click.option("--accounts", type=click.IntRange(1, 1000), default=20, show_default=True, help="Sending accounts.")
@click.option("--daily-capacity", type=click.IntRange(1, 1_000_000), default=500, show_default=True, help="Of each.")
@click.option("--rate-limit", type=NumberRange(0), default=0.0, help="API calls per real second; 0: no limit.")
@click.option("--hard-bounce-rate", "hard_bounce", type=_SHARE, default=_HABITS.hard_bounce, show_default=True)
@click.option("--soft-bounce-rate", "soft_bounce", type=_SHARE, default=_HABITS.soft_bounce, show_default=True)
@click.option("--open-rate", "open", type=_SHARE, default=_HABITS.open, show_default=True)
@click.option("--reply-rate", "reply", type=_SHARE, default=_HABITS.reply, show_default=True)
@click.option("--fault", "shares", multiple=True, callback=_faults, metavar="NAME=SHARE", help="Such as drop=0.01.")
@click.option("--faults", "script", type=click.Path(path_type=Path), metavar="FILE", help="Fault script (TOML).")
def sandbox(
    config_path: Path | None,
    *,
    host: str,
    port: int,
    speed: float,
    start_ms: int | None,
    shares: tuple[Rule, ...],
    script: Path | None,
    **chosen: Any,
) -> None:
    """Play Leadterra: campaigns that run on a clock that can go faster, and webhooks that can fail."""
    settings = load_settings(config_path).settings
    configure_logging(settings.log.format, settings.log.level)
    if start_ms is None and speed > 1:
        start_ms = _now_ms() - _START_DAYS_AGO * _DAY_MS
    rules = shares + (read_script(script, start_ms or _now_ms()) if script else ())
    options = SandboxOptions(speed=speed, start_ms=start_ms, faults=rules, **_options(chosen))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(options, host, port))


async def _run(options: SandboxOptions, host: str, port: int) -> None:
    await serve(Sandbox(options), host, port)


def _options(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Sorts habits from the rest, and makes up the keys that were not given."""
    names = ("hard_bounce", "soft_bounce", "open", "reply")
    given = {name: value for name, value in chosen.items() if name not in names}
    given["habits"] = Habits(**{name: chosen[name] for name in names})
    if given["api_key"] is None:
        given["api_key"] = "sk_test_" + secrets.token_urlsafe(16)
        say(f"API key: {given['api_key']}")
    if given["webhook_secret"] is None:
        given["webhook_secret"] = "whsec_" + secrets.token_urlsafe(16)
        if given["webhook_url"] is not None:
            say(f"Webhook secret: {given['webhook_secret']}")
    return given
