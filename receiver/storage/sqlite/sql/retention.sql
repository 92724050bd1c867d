-- Takes away raw bodies whose time is over.

-- name: newest
-- The newest row of the journal, which stays: it is where its numbers go on.
SELECT seq, received_at FROM journal ORDER BY seq DESC LIMIT 1

-- name: first_young
-- The first row that is not old. One from the future was stamped by a clock that was wrong: its neighbours decide.
SELECT seq FROM journal WHERE received_at BETWEEN :horizon AND :now ORDER BY seq LIMIT 1

-- name: last_old
-- The last row that is old.
SELECT max(seq) FROM journal WHERE received_at < :horizon

-- name: oldest_bodies
-- The oldest rows, with what they weigh.
SELECT seq, length(body) FROM journal WHERE seq <= :upto ORDER BY seq LIMIT :rows

-- name: expire_bodies
-- Whatever is older has gone before.
DELETE FROM journal WHERE seq <= :upto

-- name: resolved
-- Bodies in quarantine whose event is in the ledger by now, or whose identity is.
SELECT id, length(body) FROM quarantine WHERE resolved_at IS NOT NULL AND last_received_at < :horizon
ORDER BY id LIMIT 10000

-- name: expire_resolved
-- One of them.
DELETE FROM quarantine WHERE id = :id AND resolved_at IS NOT NULL
