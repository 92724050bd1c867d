-- What was registered with Leadterra, and whether it has come.

-- name: insert
-- A webhook that Leadterra took; told twice it is one.
INSERT INTO webhooks (webhook_id, leadterra, url, events, registered_at)
VALUES (:webhook_id, :leadterra, :url, :events, :registered_at)
ON CONFLICT (webhook_id) DO UPDATE SET leadterra = excluded.leadterra, url = excluded.url, events = excluded.events

-- name: equal
-- The newest webhook that is equal.
SELECT webhook_id, registered_at FROM webhooks
WHERE leadterra = :leadterra AND url = :url AND events = :events
ORDER BY registered_at DESC LIMIT 1

-- name: any_of
-- Whether any webhook was registered there.
SELECT 1 FROM webhooks WHERE leadterra = :leadterra LIMIT 1

-- name: newest_signed
-- Which secrets the newest deliveries were signed with.
SELECT secret FROM (SELECT secret FROM journal ORDER BY seq DESC LIMIT 1000)
UNION SELECT secret FROM (SELECT secret FROM quarantine ORDER BY id DESC LIMIT 1000)
