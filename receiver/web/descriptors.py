"""File descriptors: as many as the connections that are allowed need."""

import resource

import structlog

log = structlog.get_logger()

# What stays for the database, exports, calls to Leadterra, and connections that are being refused.
_OWN = 256


def provide(connections: int) -> int:
    """Raise this process' limit of open files to what so many connections need; how many it allows."""
    needed = connections + _OWN
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return connections
    if hard == resource.RLIM_INFINITY or hard >= needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
        return connections
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    allowed = max(hard - _OWN, hard // 2)
    log.warning(
        "too_few_descriptors",
        detail=f"'server.max_connections' is {connections}, which needs {needed} open files; this process may open"
        f" {hard}, so at most {allowed} connections are served at once. Raise the hard limit (in a systemd unit"
        f" LimitNOFILE={needed}), or lower the setting.",
    )
    return allowed
