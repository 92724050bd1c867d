"""What the protocol is built on: not a public interface of uvicorn, and so looked at here."""

import inspect

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from receiver.web.protocol import GuardedProtocol

OVERRIDDEN = {
    "connection_made": "transport",
    "connection_lost": "exc",
    "data_received": "data",
    "pause_writing": "",
    "resume_writing": "",
    "shutdown": "",
    "on_message_begin": "",
    "on_header": "name, value",
    "on_headers_complete": "",
    "on_body": "body",
    "on_message_complete": "",
    "on_response_complete": "",
    "_start_asgi_task": "cycle, app",
}
CHANGED = (
    "uvicorn has changed what receiver/web/protocol.py is built on; read its httptools_impl.py and adapt that module"
)


def test_uvicorn_still_has_what_the_protocol_overrides_and_uses() -> None:
    for name, parameters in OVERRIDDEN.items():
        method = getattr(HttpToolsProtocol, name, None)
        assert method is not None, f"{CHANGED}: {name} is gone"
        found = ", ".join(list(inspect.signature(method).parameters)[1:])
        assert found == parameters, f"{CHANGED}: {name} takes {found}"
    own = {name for name in vars(GuardedProtocol) if callable(getattr(HttpToolsProtocol, name, None))}
    assert own - {"__init__", "__doc__", "__module__"} <= OVERRIDDEN.keys()
    used = {
        RequestResponseCycle: (
            "disconnected",
            "keep_alive",
            "message_event",
            "response_complete",
            "response_started",
            "transport",
        ),
        FlowControl: ("pause_reading", "resume_reading"),
        ServerState: ("default_headers", "total_requests"),
        HttpToolsProtocol: (
            "app",
            "cycle",
            "flow",
            "headers",
            "parser",
            "pipeline",
            "server_state",
            "transport",
            "url",
        ),
    }
    for kind, names in used.items():
        source = inspect.getsource(kind)
        missing = [name for name in names if f"self.{name}" not in source and f"def {name}(" not in source]
        assert missing == [], f"{CHANGED}: {kind.__name__} lacks {missing}"
