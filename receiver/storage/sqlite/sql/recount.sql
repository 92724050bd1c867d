-- Counts the ledger anew beside the figures, in temporary tables of a reading connection.

-- name: create_expected
-- What series should hold.
CREATE TEMP TABLE expected (
    campaign INTEGER, step INTEGER, quarter INTEGER,
    sent INTEGER, attempted INTEGER, accepted INTEGER, bounced INTEGER, bounced_hard INTEGER,
    bounced_soft INTEGER, replies INTEGER, replied INTEGER, replied_human INTEGER, starts INTEGER,
    PRIMARY KEY (campaign, quarter, step)
) WITHOUT ROWID

-- name: create_expected_shifts
-- What shifts should hold.
CREATE TEMP TABLE expected_shifts (
    campaign INTEGER, step INTEGER, quarter INTEGER,
    attempted INTEGER, accepted INTEGER, bounced INTEGER, bounced_hard INTEGER, bounced_soft INTEGER,
    replies INTEGER, replied INTEGER, replied_human INTEGER, bounced_unsent INTEGER, bounced_hard_unsent INTEGER,
    PRIMARY KEY (campaign, quarter, step)
) WITHOUT ROWID

-- name: create_expected_bounces
-- What bounces should hold.
CREATE TEMP TABLE expected_bounces (
    campaign INTEGER, step INTEGER, quarter INTEGER, reason TEXT, domain TEXT,
    bounced_hard INTEGER, bounced_soft INTEGER,
    PRIMARY KEY (campaign, quarter, step, reason, domain)
) WITHOUT ROWID

-- name: create_expected_minutes
-- What minutes should hold.
CREATE TEMP TABLE expected_minutes (
    campaign INTEGER, minute INTEGER,
    sent INTEGER, bounced INTEGER, bounced_soft INTEGER, replied INTEGER, replied_human INTEGER,
    PRIMARY KEY (minute, campaign)
) WITHOUT ROWID

-- name: create_expected_spans
-- What campaigns should hold.
CREATE TEMP TABLE expected_spans (campaign INTEGER PRIMARY KEY, first INTEGER, last INTEGER)

-- name: create_expected_baselines
-- What the ledgers of campaigns' first snapshots should hold.
CREATE TEMP TABLE expected_baselines (
    campaign INTEGER, at INTEGER,
    sent INTEGER, bounced INTEGER, bounced_soft INTEGER, replied INTEGER, replied_human INTEGER,
    PRIMARY KEY (campaign, at)
) WITHOUT ROWID

-- name: drop_expected
-- Leave nothing behind.
DROP TABLE IF EXISTS temp.expected

-- name: drop_expected_shifts
-- Leave nothing behind.
DROP TABLE IF EXISTS temp.expected_shifts

-- name: drop_expected_bounces
-- Leave nothing behind.
DROP TABLE IF EXISTS temp.expected_bounces

-- name: drop_expected_minutes
-- Leave nothing behind.
DROP TABLE IF EXISTS temp.expected_minutes

-- name: drop_expected_spans
-- Leave nothing behind.
DROP TABLE IF EXISTS temp.expected_spans

-- name: drop_expected_baselines
-- Leave nothing behind.
DROP TABLE IF EXISTS temp.expected_baselines

-- name: ledger_rows
-- How many rows there are to count.
SELECT (SELECT count(*) FROM messages) + (SELECT count(*) FROM replies) + (SELECT count(*) FROM starts)

-- name: chunk_end
-- The key that ends the next chunk of messages.
SELECT key FROM messages WHERE key > :after ORDER BY key LIMIT 1 OFFSET :rows

-- name: last_key
-- The greatest key.
SELECT max(key) FROM messages

-- name: count_plain_series
-- Messages with a send and no bounce count the same everywhere: sums instead of rows.
INSERT INTO expected
SELECT campaign, step, sent_at / 900000, count(*), count(*), count(*), 0, 0, 0, 0, 0, 0, 0
FROM messages
WHERE key > :after AND key <= :upto AND campaign IS NOT NULL AND sent_at IS NOT NULL
      AND soft_at IS NULL AND hard_at IS NULL
GROUP BY 1, 2, 3
ON CONFLICT (campaign, quarter, step) DO UPDATE SET
    sent = sent + excluded.sent, attempted = attempted + excluded.attempted,
    accepted = accepted + excluded.accepted

-- name: count_plain_minutes
-- The same by minute, as far back as minutes are kept.
INSERT INTO expected_minutes
SELECT campaign, sent_at / 60000, count(*), 0, 0, 0, 0
FROM messages
WHERE key > :after AND key <= :upto AND campaign IS NOT NULL AND sent_at >= :horizon
      AND soft_at IS NULL AND hard_at IS NULL
GROUP BY 1, 2
ON CONFLICT (minute, campaign) DO UPDATE SET sent = sent + excluded.sent

-- name: measure_plain_spans
-- The earliest and latest plain send.
INSERT INTO expected_spans
SELECT campaign, min(sent_at), max(sent_at)
FROM messages
WHERE key > :after AND key <= :upto AND campaign IS NOT NULL AND sent_at IS NOT NULL
      AND soft_at IS NULL AND hard_at IS NULL
GROUP BY campaign
ON CONFLICT (campaign) DO UPDATE SET first = min(first, excluded.first), last = max(last, excluded.last)

-- name: begin_baselines
-- Nothing is counted yet.
INSERT INTO expected_baselines SELECT campaign, at, 0, 0, 0, 0, 0 FROM baseline_ledgers

-- name: count_plain_baselines
-- Plain sends up to the moments of campaigns' first snapshots.
UPDATE expected_baselines SET sent = expected_baselines.sent + plain.sent
FROM (
    SELECT messages.campaign AS campaign, baseline_ledgers.at AS at, count(*) AS sent
    FROM messages JOIN baseline_ledgers ON baseline_ledgers.campaign = messages.campaign AND sent_at <= at
    WHERE key > :after AND key <= :upto AND soft_at IS NULL AND hard_at IS NULL
    GROUP BY 1, 2
) AS plain
WHERE expected_baselines.campaign = plain.campaign AND expected_baselines.at = plain.at

-- name: bounced_messages
-- Messages with a bounce, to be booked one by one.
SELECT campaign, step, sent_at, soft_at, hard_at, soft_reason, hard_reason, domain
FROM messages
WHERE key > :after AND key <= :upto AND campaign IS NOT NULL AND (soft_at IS NOT NULL OR hard_at IS NOT NULL)

-- name: attributed_replies
-- Replies whose campaign is known.
SELECT campaign, step, at, message_sent_at, origin FROM replies WHERE campaign IS NOT NULL

-- name: replies_by_lead
-- Replies of leads, lead by lead.
SELECT campaign, lead, at, step, message_sent_at, class FROM replies
WHERE campaign IS NOT NULL AND lead IS NOT NULL ORDER BY campaign, lead

-- name: all_starts
-- Starts.
SELECT campaign, at FROM starts

-- name: add_expected
-- One booking.
INSERT INTO expected VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (campaign, quarter, step) DO UPDATE SET
    sent = sent + excluded.sent, attempted = attempted + excluded.attempted,
    accepted = accepted + excluded.accepted, bounced = bounced + excluded.bounced,
    bounced_hard = bounced_hard + excluded.bounced_hard, bounced_soft = bounced_soft + excluded.bounced_soft,
    replies = replies + excluded.replies, replied = replied + excluded.replied,
    replied_human = replied_human + excluded.replied_human, starts = starts + excluded.starts

-- name: add_expected_shift
-- One booking taken to its send.
INSERT INTO expected_shifts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (campaign, quarter, step) DO UPDATE SET
    attempted = attempted + excluded.attempted, accepted = accepted + excluded.accepted,
    bounced = bounced + excluded.bounced, bounced_hard = bounced_hard + excluded.bounced_hard,
    bounced_soft = bounced_soft + excluded.bounced_soft, replies = replies + excluded.replies,
    replied = replied + excluded.replied, replied_human = replied_human + excluded.replied_human,
    bounced_unsent = bounced_unsent + excluded.bounced_unsent,
    bounced_hard_unsent = bounced_hard_unsent + excluded.bounced_hard_unsent

-- name: add_expected_bounce
-- One bounce.
INSERT INTO expected_bounces VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (campaign, quarter, step, reason, domain) DO UPDATE SET
    bounced_hard = bounced_hard + excluded.bounced_hard, bounced_soft = bounced_soft + excluded.bounced_soft

-- name: add_expected_minute
-- One booking, by minute.
INSERT INTO expected_minutes VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (minute, campaign) DO UPDATE SET
    sent = sent + excluded.sent, bounced = bounced + excluded.bounced,
    bounced_soft = bounced_soft + excluded.bounced_soft, replied = replied + excluded.replied,
    replied_human = replied_human + excluded.replied_human

-- name: add_expected_baseline
-- One booking that lies before a campaign's first snapshot.
UPDATE expected_baselines SET sent = sent + ?, bounced = bounced + ?, bounced_soft = bounced_soft + ?,
                              replied = replied + ?, replied_human = replied_human + ?
WHERE campaign = ? AND at = ?

-- name: widen_expected_span
-- One event.
INSERT INTO expected_spans VALUES (?, ?, ?)
ON CONFLICT (campaign) DO UPDATE SET first = min(first, excluded.first), last = max(last, excluded.last)

-- name: series_differences
-- Expected less held, where they differ; campaign 0 is the workspace.
SELECT campaign, step, quarter, sum(sent), sum(attempted), sum(accepted), sum(bounced), sum(bounced_hard),
       sum(bounced_soft), sum(replies), sum(replied), sum(replied_human), sum(starts)
FROM (
    SELECT campaign, step, quarter, sent, attempted, accepted, bounced, bounced_hard, bounced_soft, replies,
           replied, replied_human, starts
    FROM temp.expected
    UNION ALL
    SELECT 0, step, quarter, sent, attempted, accepted, bounced, bounced_hard, bounced_soft, replies,
           replied, replied_human, starts
    FROM temp.expected
    UNION ALL
    SELECT campaign, step, quarter, -sent, -attempted, -accepted, -bounced, -bounced_hard, -bounced_soft,
           -replies, -replied, -replied_human, -starts
    FROM series
)
GROUP BY campaign, quarter, step
HAVING sum(sent) OR sum(attempted) OR sum(accepted) OR sum(bounced) OR sum(bounced_hard) OR sum(bounced_soft)
       OR sum(replies) OR sum(replied) OR sum(replied_human) OR sum(starts)

-- name: shifts_differences
-- Expected less held, where they differ; campaign 0 is the workspace.
SELECT campaign, step, quarter, sum(attempted), sum(accepted), sum(bounced), sum(bounced_hard), sum(bounced_soft),
       sum(replies), sum(replied), sum(replied_human), sum(bounced_unsent), sum(bounced_hard_unsent)
FROM (
    SELECT campaign, step, quarter, attempted, accepted, bounced, bounced_hard, bounced_soft, replies, replied, replied_human, bounced_unsent,
           bounced_hard_unsent
    FROM temp.expected_shifts
    UNION ALL
    SELECT 0, step, quarter, attempted, accepted, bounced, bounced_hard, bounced_soft, replies, replied, replied_human, bounced_unsent,
           bounced_hard_unsent
    FROM temp.expected_shifts
    UNION ALL
    SELECT campaign, step, quarter, -attempted, -accepted, -bounced, -bounced_hard, -bounced_soft, -replies, -replied,
           -replied_human, -bounced_unsent, -bounced_hard_unsent
    FROM shifts
)
GROUP BY campaign, quarter, step
HAVING sum(attempted) OR sum(accepted) OR sum(bounced) OR sum(bounced_hard) OR sum(bounced_soft) OR sum(replies)
       OR sum(replied) OR sum(replied_human) OR sum(bounced_unsent) OR sum(bounced_hard_unsent)

-- name: bounces_differences
-- Expected less held, where they differ.
SELECT campaign, step, quarter, reason, domain, sum(bounced_hard), sum(bounced_soft)
FROM (
    SELECT campaign, step, quarter, reason, domain, bounced_hard, bounced_soft FROM temp.expected_bounces
    UNION ALL
    SELECT campaign, step, quarter, reason, domain, -bounced_hard, -bounced_soft FROM bounces
)
GROUP BY campaign, quarter, step, reason, domain
HAVING sum(bounced_hard) OR sum(bounced_soft)

-- name: unsent_differences
-- Expected less held, where they differ; step -1 is the whole campaign.
SELECT campaign, step, sum(bounced_unsent), sum(bounced_hard_unsent)
FROM (
    SELECT campaign, step, bounced_unsent, bounced_hard_unsent FROM temp.expected_shifts
    UNION ALL
    SELECT campaign, -1, bounced_unsent, bounced_hard_unsent FROM temp.expected_shifts
    UNION ALL
    SELECT campaign, step, -bounced_unsent, -bounced_hard_unsent FROM totals
)
GROUP BY campaign, step
HAVING sum(bounced_unsent) OR sum(bounced_hard_unsent)

-- name: totals_differences
-- Expected less held, where they differ; step -1 is the whole campaign.
SELECT campaign, step, sum(sent), sum(attempted), sum(accepted), sum(bounced), sum(bounced_hard),
       sum(bounced_soft), sum(replies), sum(replied), sum(replied_human), sum(starts)
FROM (
    SELECT campaign, step, sent, attempted, accepted, bounced, bounced_hard, bounced_soft, replies,
           replied, replied_human, starts
    FROM temp.expected
    UNION ALL
    SELECT campaign, -1, sent, attempted, accepted, bounced, bounced_hard, bounced_soft, replies,
           replied, replied_human, starts
    FROM temp.expected
    UNION ALL
    SELECT campaign, step, -sent, -attempted, -accepted, -bounced, -bounced_hard, -bounced_soft,
           -replies, -replied, -replied_human, -starts
    FROM totals
)
GROUP BY campaign, step
HAVING sum(sent) OR sum(attempted) OR sum(accepted) OR sum(bounced) OR sum(bounced_hard) OR sum(bounced_soft)
       OR sum(replies) OR sum(replied) OR sum(replied_human) OR sum(starts)

-- name: minutes_differences
-- Expected less held, where they differ, as far back as minutes are kept.
SELECT campaign, minute, sum(sent), sum(bounced), sum(bounced_soft), sum(replied), sum(replied_human)
FROM (
    SELECT campaign, minute, sent, bounced, bounced_soft, replied, replied_human FROM temp.expected_minutes
    UNION ALL
    SELECT campaign, minute, -sent, -bounced, -bounced_soft, -replied, -replied_human
    FROM minutes WHERE minute >= :horizon_minute
)
GROUP BY minute, campaign
HAVING sum(sent) OR sum(bounced) OR sum(bounced_soft) OR sum(replied) OR sum(replied_human)

-- name: baseline_differences
-- Expected less held, where they differ; the place last, as it is added.
SELECT should.sent - held.sent, should.bounced - held.bounced, should.bounced_soft - held.bounced_soft,
       should.replied - held.replied, should.replied_human - held.replied_human, held.campaign, held.at
FROM temp.expected_baselines AS should JOIN baseline_ledgers AS held USING (campaign, at)
WHERE should.sent <> held.sent OR should.bounced <> held.bounced OR should.bounced_soft <> held.bounced_soft
      OR should.replied <> held.replied OR should.replied_human <> held.replied_human

-- name: contacted_differences
-- Campaigns whose `contacted` is not the sends of their lowest step.
WITH lowest AS MATERIALIZED (
    SELECT campaign, min(step) AS step FROM temp.expected WHERE sent > 0 GROUP BY campaign
), counted AS MATERIALIZED (
    SELECT campaign, sum(sent) AS sent FROM temp.expected JOIN lowest USING (campaign, step) GROUP BY campaign
)
SELECT whole.campaign FROM totals AS whole LEFT JOIN counted USING (campaign)
WHERE whole.step = -1 AND whole.contacted <> coalesce(counted.sent, 0)

-- name: span_differences
-- Campaigns whose earliest or latest event is another than held, but for those about to be measured.
SELECT id FROM campaigns LEFT JOIN temp.expected_spans ON campaign = id
WHERE span_removals = 0 AND (first_event_at IS NOT first OR last_event_at IS NOT last)
