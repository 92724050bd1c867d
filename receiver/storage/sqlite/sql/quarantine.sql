-- What is kept and not counted.

-- name: find_equal
-- Quarantined bodies whose bytes had the same digest when they came.
SELECT id, body FROM quarantine WHERE digest = :digest AND reason <> 'conflict'

-- name: count_copy
-- One more delivery of a quarantined body.
UPDATE quarantine SET copies = copies + 1, last_received_at = :received_at WHERE id = :id

-- name: insert
-- A body that is kept and not counted.
INSERT INTO quarantine (reason, detail, event, campaign_id, kind, key, received_at, last_received_at, copies,
                        due_at, secret, peer, digest, body)
VALUES (:reason, :detail, :event, :campaign_id, :kind, :key, :received_at, :received_at, 1,
        :due_at, :secret, :peer, :digest, :body)

-- name: find_conflict
-- Whether a conflict of this event is listed. Conflicts are never resolved: only open rows are indexed by key.
SELECT id FROM quarantine WHERE kind = :kind AND key = :key AND reason = 'conflict' AND resolved_at IS NULL

-- name: open_of_keys
-- Rows that an understood body of the same identity may resolve.
SELECT id, kind, key, reason FROM quarantine
WHERE key IN (:keys...) AND resolved_at IS NULL AND reason <> 'conflict'

-- name: resolve
-- A row whose event is in the ledger now.
UPDATE quarantine SET resolved_at = :now WHERE id = :id AND resolved_at IS NULL

-- name: due
-- Bodies that were ahead of their time and are not any more.
SELECT id FROM quarantine WHERE due_at <= :now AND resolved_at IS NULL ORDER BY due_at LIMIT 500

-- name: open_ids
-- Unresolved rows after an id, of a reason or of any.
SELECT id FROM quarantine
WHERE resolved_at IS NULL AND id > :after AND (:reason IS NULL OR reason = :reason)
ORDER BY id LIMIT 500

-- name: take
-- An unresolved row with its body, to be read again.
SELECT id, reason, received_at, secret, peer, body FROM quarantine WHERE id = :id AND resolved_at IS NULL

-- name: describe
-- Why a body is still quarantined.
UPDATE quarantine SET reason = :reason, detail = :detail, due_at = :due_at WHERE id = :id

-- name: page
-- Unresolved rows, newest first; never the body.
SELECT id, reason, detail, event, campaign_id, received_at, length(body) AS size_bytes, copies
FROM quarantine
WHERE resolved_at IS NULL AND (:reason IS NULL OR reason = :reason) AND (:before IS NULL OR id < :before)
ORDER BY id DESC LIMIT :limit

-- name: row
-- One row with its body, for the operator at the machine.
SELECT id, reason, detail, event, campaign_id, received_at, length(body) AS size_bytes, copies, resolved_at, body
FROM quarantine WHERE id = :id

-- name: count_open
-- How much waits, by reason.
SELECT reason, count(*) AS bodies, sum(length(body)) AS size_bytes FROM quarantine
WHERE resolved_at IS NULL GROUP BY reason
