-- The events behind a figure, each in bounded time: windows of the journal first, then the rows in them.

-- name: window
-- How many events there are from a row on, and between which rows.
SELECT count(*), min(seq), max(seq)
FROM (SELECT seq FROM journal WHERE role = 1 AND seq >= :seq ORDER BY seq LIMIT :limit)

-- name: window_back
-- The same, up to a row.
SELECT count(*), min(seq), max(seq)
FROM (SELECT seq FROM journal WHERE role = 1 AND seq < :seq ORDER BY seq DESC LIMIT :limit)

-- name: window_of_campaign
-- The same of one campaign, from a row on.
SELECT count(*), min(seq), max(seq)
FROM (SELECT seq FROM journal WHERE campaign = :campaign AND role = 1 AND seq >= :seq ORDER BY seq LIMIT :limit)

-- name: window_back_of_campaign
-- The same, up to a row.
SELECT count(*), min(seq), max(seq)
FROM (SELECT seq FROM journal WHERE campaign = :campaign AND role = 1 AND seq < :seq ORDER BY seq DESC LIMIT :limit)

-- name: events
-- Events of some kinds, by their time; those that wait for their campaign are not counted.
SELECT journal.seq, copies, journal.origin
FROM journal
LEFT JOIN messages ON journal.kind IN (2, 3, 4) AND messages.key = journal.key
LEFT JOIN replies ON journal.kind = 5 AND replies.key = journal.key
LEFT JOIN starts ON journal.kind = 1 AND starts.key = journal.key
WHERE journal.campaign IS NOT NULL AND role = 1 AND journal.seq BETWEEN :first_seq AND :last_seq
  AND journal.kind IN (SELECT value FROM json_each(:kinds))
  AND CASE journal.kind WHEN 1 THEN starts.at WHEN 2 THEN sent_at WHEN 3 THEN soft_at WHEN 4 THEN hard_at
                        ELSE replies.at END >= :from
  AND CASE journal.kind WHEN 1 THEN starts.at WHEN 2 THEN sent_at WHEN 3 THEN soft_at WHEN 4 THEN hard_at
                        ELSE replies.at END < :to
  AND (:step IS NULL OR messages.step = :step)
  AND (NOT :human OR journal.kind <> 5 OR class IS NULL OR lower(trim(class)) NOT IN ('out_of_office', 'bounce'))
  AND (NOT :by_webhook OR journal.origin = 0)

-- name: events_of_campaign
-- The same of one campaign.
SELECT journal.seq, copies, journal.origin
FROM journal
LEFT JOIN messages ON journal.kind IN (2, 3, 4) AND messages.key = journal.key
LEFT JOIN replies ON journal.kind = 5 AND replies.key = journal.key
LEFT JOIN starts ON journal.kind = 1 AND starts.key = journal.key
WHERE journal.campaign = :campaign AND role = 1 AND journal.seq BETWEEN :first_seq AND :last_seq
  AND journal.kind IN (SELECT value FROM json_each(:kinds))
  AND CASE journal.kind WHEN 1 THEN starts.at WHEN 2 THEN sent_at WHEN 3 THEN soft_at WHEN 4 THEN hard_at
                        ELSE replies.at END >= :from
  AND CASE journal.kind WHEN 1 THEN starts.at WHEN 2 THEN sent_at WHEN 3 THEN soft_at WHEN 4 THEN hard_at
                        ELSE replies.at END < :to
  AND (:step IS NULL OR messages.step = :step)
  AND (NOT :human OR journal.kind <> 5 OR class IS NULL OR lower(trim(class)) NOT IN ('out_of_office', 'bounce'))
  AND (NOT :by_webhook OR journal.origin = 0)

-- name: sampled
-- Some events, as they are shown.
SELECT * FROM event_rows WHERE seq IN (SELECT value FROM json_each(:seqs)) ORDER BY seq

-- name: ends
-- The oldest and the newest row.
SELECT (SELECT min(seq) FROM journal), (SELECT max(seq) FROM journal)

-- name: arrival
-- The first row from a number on.
SELECT seq, received_at FROM journal WHERE seq >= :seq ORDER BY seq LIMIT 1

-- name: not_counted
-- Bodies in quarantine and conflicts, by when they arrived.
SELECT sum(reason <> 'conflict'), sum(reason = 'conflict')
FROM (
    SELECT reason, event, received_at FROM quarantine INDEXED BY quarantine_open
    WHERE resolved_at IS NULL LIMIT :limit
)
WHERE event IN (SELECT value FROM json_each(:names)) AND received_at >= :from AND received_at < :to

-- name: not_counted_of_campaign
-- The same of one campaign.
SELECT sum(reason <> 'conflict'), sum(reason = 'conflict')
FROM (
    SELECT reason, event FROM quarantine
    WHERE campaign_id = :campaign_id AND resolved_at IS NULL AND campaign_id IS NOT NULL
          AND received_at >= :from AND received_at < :to
    LIMIT :limit
)
WHERE event IN (SELECT value FROM json_each(:names))

-- name: before_receiver
-- Whether any campaign sent before its first snapshot what we never saw.
SELECT EXISTS (SELECT 1 FROM drift WHERE json_extract(figures, '$.sent.before_receiver') > 0)
