"""Flask and sqlite3 under gunicorn: a connection per request, kept in `g` and closed with it."""

import sqlite3
import time
from contextlib import closing

from flask import Flask, g, request

from tests.bench.peers import DATABASE, authentic

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        event TEXT NOT NULL,
        message_id TEXT NOT NULL,
        received_at REAL NOT NULL,
        body TEXT NOT NULL,
        UNIQUE (event, message_id)
    )
"""

app = Flask(__name__)
with closing(sqlite3.connect(DATABASE)) as _conn:
    _conn.execute(_SCHEMA)


def connection() -> sqlite3.Connection:
    """The connection of this request."""
    if "db" not in g:
        g.db = sqlite3.connect(DATABASE)
    found: sqlite3.Connection = g.db
    return found


@app.teardown_appcontext
def close(_: BaseException | None) -> None:
    """Close what the request has opened."""
    db = g.pop("db", None)
    if db is not None:
        db.close()


@app.post("/webhooks/leadterra")
def webhook() -> tuple[str, int]:
    """Store one event."""
    body = request.get_data()
    if not authentic(body, request.headers.get("X-Leadterra-Signature")):
        return "", 401
    payload = request.get_json()
    db = connection()
    try:
        db.execute(
            "INSERT INTO events (event, message_id, received_at, body) VALUES (?, ?, ?, ?)",
            (payload["event"], payload["data"]["messageId"], time.time(), body.decode()),
        )
        db.commit()
    except sqlite3.IntegrityError:  # a copy
        db.rollback()
    return "", 204
