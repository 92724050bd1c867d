"""Typed settings from flags, environment, secret files and a TOML file, checked before anything starts."""

from receiver.settings.clock import clock_of
from receiver.settings.example import example_toml
from receiver.settings.kinds import PLACEHOLDER, is_loopback_host, is_loopback_url
from receiver.settings.load import Loaded, load
from receiver.settings.models import (
    AccessSettings,
    ClockSettings,
    IngestSettings,
    LeadterraSettings,
    LogSettings,
    ReconcileSettings,
    RetentionSettings,
    ServerSettings,
    Settings,
    StorageSettings,
    WebhookSettings,
)

__all__ = [
    "PLACEHOLDER",
    "AccessSettings",
    "ClockSettings",
    "IngestSettings",
    "LeadterraSettings",
    "Loaded",
    "LogSettings",
    "ReconcileSettings",
    "RetentionSettings",
    "ServerSettings",
    "Settings",
    "StorageSettings",
    "WebhookSettings",
    "clock_of",
    "example_toml",
    "is_loopback_host",
    "is_loopback_url",
    "load",
]
