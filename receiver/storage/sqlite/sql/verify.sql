-- Compares the ledger with the journal it was made from.

-- name: reach
-- How far back the journal reaches.
SELECT min(seq) AS first_seq, min(received_at) AS since, count(*) AS bodies FROM journal

-- name: bodies
-- Understood bodies in the order of their events, so that copies of one event stand together.
SELECT seq, kind, key, body, origin FROM journal WHERE role IN (1, 2, 4) ORDER BY key, kind, seq

-- name: message
-- One message's state.
SELECT campaign_id, step, sent_at, soft_at, hard_at, soft_reason, hard_reason, domains.domain, sent_seq, soft_seq,
       hard_seq
FROM messages LEFT JOIN campaigns ON campaigns.id = messages.campaign LEFT JOIN domains ON domains.id = messages.domain
WHERE key = :key

-- name: reply
-- One reply's state, and whether it is booked at the send that it answers.
SELECT origin, at, best.campaign_id, best_lead, best_class, other.campaign_id, other_step, other_lead, other_class,
       message, seq, first_received_at,
       message_sent_at IS (SELECT sent_at FROM messages WHERE messages.key = message)
FROM replies
LEFT JOIN campaigns AS best ON best.id = best_campaign
LEFT JOIN campaigns AS other ON other.id = other_campaign
WHERE replies.key = :key

-- name: start
-- One start.
SELECT campaign_id, at, seq FROM starts JOIN campaigns ON campaigns.id = campaign WHERE key = :key

-- name: events_by_body
-- Events by webhook that are older than the journal, and those whose first delivery should be in it and is not.
SELECT coalesce(sum(event.seq < :first_seq), 0) AS older,
       coalesce(sum((event.seq IS NULL OR event.seq >= :first_seq) AND NOT EXISTS (
           SELECT 1 FROM journal WHERE journal.seq = event.seq AND journal.key = event.key)), 0) AS missing
FROM (
    SELECT sent_seq AS seq, key FROM messages WHERE sent_at IS NOT NULL
    UNION ALL SELECT soft_seq, key FROM messages WHERE soft_at IS NOT NULL
    UNION ALL SELECT hard_seq, key FROM messages WHERE hard_at IS NOT NULL
    UNION ALL SELECT seq, key FROM replies WHERE origin = 0
    UNION ALL SELECT seq, key FROM starts
) AS event
