-- Finds one address wherever it may be kept, and takes it out.

-- name: bodies
-- Bodies of a part of the journal that may hold it: its letters as they are, or an escape of letters.
SELECT seq, body FROM journal
WHERE seq > :after AND seq <= :upto
      AND (instr(CAST(lower(CAST(body AS TEXT)) AS BLOB), :local)
           AND instr(CAST(lower(CAST(body AS TEXT)) AS BLOB), :domain)
           OR instr(body, x'5c75') OR instr(body, x'25') OR instr(body, x'2623'))

-- name: quarantined
-- Everything in quarantine.
SELECT id, body, event, detail FROM quarantine WHERE id > :after ORDER BY id LIMIT 500

-- name: reasons
-- What bounces said.
SELECT key, soft_reason, hard_reason FROM messages WHERE soft_reason IS NOT NULL OR hard_reason IS NOT NULL

-- name: classes
-- What replies were called.
SELECT key, best_class, other_class FROM replies WHERE best_class IS NOT NULL

-- name: names
-- What campaigns are called.
SELECT id, name FROM campaigns WHERE name IS NOT NULL

-- name: body
-- One body, with what it says of which event.
SELECT kind, key, role, origin, body FROM journal WHERE seq = :seq

-- name: set_body
-- The same without the address.
UPDATE journal SET body = :body WHERE seq = :seq

-- name: keep_digest
-- So that a copy with the bytes of before is known as one.
INSERT INTO variants (kind, key, digest, seq) VALUES (:kind, :key, :digest, :seq) ON CONFLICT DO NOTHING

-- name: set_quarantined
-- A body in quarantine, its event's name and its detail; its digest stays that of the bytes that came.
UPDATE quarantine SET body = :body, event = :event, detail = :detail WHERE id = :id

-- name: quarantined_row
-- The row as it is now.
SELECT body, event, detail, digest FROM quarantine WHERE id = :id

-- name: message
-- One message as it is now.
SELECT campaign, step, sent_at, soft_at, soft_reason, hard_at, hard_reason, domains.domain
FROM messages LEFT JOIN domains ON domains.id = messages.domain WHERE key = :key

-- name: set_reasons
-- What its bounces said.
UPDATE messages SET soft_reason = :soft_reason, hard_reason = :hard_reason WHERE key = :key

-- name: forget_bounces
-- A reason that nothing counts under any more: it may have held the address.
DELETE FROM bounces
WHERE campaign = ? AND step = ? AND quarter = ? AND reason = ? AND domain = ?
      AND bounced_hard = 0 AND bounced_soft = 0

-- name: reply
-- One reply as it is now.
SELECT key, best_class, other_class FROM replies WHERE key = :key

-- name: set_classes
-- What it was called.
UPDATE replies SET best_class = :best_class, other_class = :other_class WHERE key = :key

-- name: campaign
-- One campaign as it is now.
SELECT id, name FROM campaigns WHERE id = :id

-- name: set_name
-- What it is called.
UPDATE campaigns SET name = :name WHERE id = :id
