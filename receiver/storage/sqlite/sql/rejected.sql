-- Bodies whose signature matched no secret, in a file of their own.

-- name: create
-- The one table of that file.
CREATE TABLE IF NOT EXISTS rejected (
    id INTEGER PRIMARY KEY,
    received_at INTEGER NOT NULL, -- when it came first, epoch milliseconds
    peer TEXT,                    -- address that posted it
    signatures BLOB NOT NULL,     -- those that came with it, decoded, 32 bytes each
    digest BLOB NOT NULL,         -- of signatures and body: a retry of the same is kept once
    body BLOB NOT NULL
) STRICT

-- name: heads
-- All but the bodies, as they came.
SELECT id, received_at, peer, digest, length(body) FROM rejected ORDER BY id

-- name: take
-- Some of them, with their bodies.
SELECT id, received_at, peer, signatures, digest, body FROM rejected WHERE id IN (:ids...) ORDER BY id

-- name: insert
-- One more.
INSERT INTO rejected (id, received_at, peer, signatures, digest, body) VALUES (?, ?, ?, ?, ?, ?)

-- name: delete
-- One less; nothing of it is left in the file.
DELETE FROM rejected WHERE id = ?
