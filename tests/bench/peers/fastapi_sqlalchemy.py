"""FastAPI and SQLAlchemy: a session per request in a plain function, which FastAPI runs on a thread."""

import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException, Request
from sqlalchemy import UniqueConstraint, create_engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from tests.bench.peers import DATABASE, authentic

engine = create_engine(f"sqlite:///{DATABASE}", connect_args={"check_same_thread": False})


class Base(DeclarativeBase):
    """The declared tables."""


class Event(Base):
    """One event, once."""

    __tablename__ = "events"
    __table_args__ = (UniqueConstraint("event", "message_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    event: Mapped[str]
    message_id: Mapped[str]
    received_at: Mapped[float]
    body: Mapped[str]


def session() -> Iterator[Session]:
    """A session that is closed after the request."""
    with Session(engine) as opened:
        yield opened


async def signed_body(request: Request, x_leadterra_signature: Annotated[str | None, Header()] = None) -> bytes:
    """The raw body, once its signature is found right."""
    body = await request.body()
    if not authentic(body, x_leadterra_signature):
        raise HTTPException(401)
    return body


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    Base.metadata.create_all(engine)
    yield


app = FastAPI(lifespan=lifespan)


@app.post("/webhooks/leadterra", status_code=204)
def webhook(body: Annotated[bytes, Depends(signed_body)], db: Annotated[Session, Depends(session)]) -> None:
    """Store one event."""
    payload = json.loads(body)
    db.add(
        Event(
            event=payload["event"],
            message_id=payload["data"]["messageId"],
            received_at=time.time(),
            body=body.decode(),
        )
    )
    try:
        db.commit()
    except IntegrityError:  # a copy
        db.rollback()
