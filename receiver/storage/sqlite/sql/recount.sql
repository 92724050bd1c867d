-- Counts the ledger anew, in temporary tables of a reading connection. Those that have the names of the figures' tables
-- stand before them, so that what fills the figures fills them too; the figures themselves are `main`.

-- name: create_series
-- In the order of time, as the ledger is: what is counted together lies together.
CREATE TEMP TABLE series (
    campaign INTEGER, step INTEGER, quarter INTEGER,
    sent INTEGER, attempted INTEGER, accepted INTEGER, bounced INTEGER, bounced_hard INTEGER,
    bounced_soft INTEGER, replies INTEGER, replied INTEGER, replied_human INTEGER, starts INTEGER,
    PRIMARY KEY (quarter, step, campaign)
) WITHOUT ROWID

-- name: create_days
-- The same by days.
CREATE TEMP TABLE days (
    campaign INTEGER, step INTEGER, quarter INTEGER,
    sent INTEGER, attempted INTEGER, accepted INTEGER, bounced INTEGER, bounced_hard INTEGER,
    bounced_soft INTEGER, replies INTEGER, replied INTEGER, replied_human INTEGER, starts INTEGER,
    PRIMARY KEY (quarter, step, campaign)
) WITHOUT ROWID

-- name: create_totals
-- Per campaign and step; step -1 is the whole campaign.
CREATE TEMP TABLE totals (
    campaign INTEGER, step INTEGER,
    sent INTEGER, attempted INTEGER, accepted INTEGER, bounced INTEGER, bounced_hard INTEGER,
    bounced_soft INTEGER, replies INTEGER, replied INTEGER, replied_human INTEGER, starts INTEGER,
    contacted INTEGER NOT NULL DEFAULT 0,
    bounced_unsent INTEGER NOT NULL DEFAULT 0, bounced_hard_unsent INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (campaign, step)
) WITHOUT ROWID

-- name: create_shifts
-- What books at the send.
CREATE TEMP TABLE shifts (
    campaign INTEGER, step INTEGER, quarter INTEGER,
    attempted INTEGER, accepted INTEGER, bounced INTEGER, bounced_hard INTEGER, bounced_soft INTEGER,
    replies INTEGER, replied INTEGER, replied_human INTEGER, bounced_unsent INTEGER, bounced_hard_unsent INTEGER,
    PRIMARY KEY (quarter, step, campaign)
) WITHOUT ROWID

-- name: create_bounces
-- Bounces by reason and domain.
CREATE TEMP TABLE bounces (
    campaign INTEGER, step INTEGER, quarter INTEGER, reason TEXT, domain TEXT,
    bounced_hard INTEGER, bounced_soft INTEGER,
    PRIMARY KEY (quarter, step, campaign, reason, domain)
) WITHOUT ROWID

-- name: create_minutes
-- As far back as minutes are kept.
CREATE TEMP TABLE minutes (
    campaign INTEGER, minute INTEGER,
    sent INTEGER, bounced INTEGER, bounced_soft INTEGER, replied INTEGER, replied_human INTEGER,
    PRIMARY KEY (campaign, minute)
) WITHOUT ROWID

-- name: create_baseline_ledgers
-- The ledger as of campaigns' first snapshots.
CREATE TEMP TABLE baseline_ledgers (
    campaign INTEGER, at INTEGER,
    sent INTEGER, bounced INTEGER, bounced_soft INTEGER, replied INTEGER, replied_human INTEGER,
    PRIMARY KEY (campaign, at)
) WITHOUT ROWID

-- name: create_plain
-- Plain sends per day, step and campaign, with the earliest and the latest.
CREATE TEMP TABLE plain (
    day INTEGER, step INTEGER, campaign INTEGER, sent INTEGER, first INTEGER, last INTEGER,
    PRIMARY KEY (day, step, campaign)
) WITHOUT ROWID

-- name: create_spans
-- The earliest and the latest event of campaigns.
CREATE TEMP TABLE spans (campaign INTEGER PRIMARY KEY, first INTEGER, last INTEGER)

-- name: ledger_rows
-- How many rows there are to count.
SELECT (SELECT count(*) FROM messages) + (SELECT count(*) FROM replies) + (SELECT count(*) FROM starts)

-- name: chunk_end
-- The key that ends the next chunk of messages.
SELECT key FROM messages WHERE key > :after ORDER BY key LIMIT 1 OFFSET :rows

-- name: rows_after
-- Messages after a key.
SELECT count(*) FROM messages WHERE key > :after

-- name: last_key
-- The greatest key.
SELECT max(key) FROM messages

-- name: count_plain_series
-- Messages with a send and no bounce count the same everywhere: sums instead of rows.
INSERT INTO temp.series
SELECT campaign, step, sent_at / 900000, count(*), count(*), count(*), 0, 0, 0, 0, 0, 0, 0
FROM messages
WHERE key > :after AND key <= :upto AND campaign IS NOT NULL AND sent_at IS NOT NULL
      AND soft_at IS NULL AND hard_at IS NULL
GROUP BY sent_at / 900000, step, campaign
ON CONFLICT (quarter, step, campaign) DO UPDATE SET
    sent = sent + excluded.sent, attempted = attempted + excluded.attempted,
    accepted = accepted + excluded.accepted

-- name: count_plain
-- The same by days.
INSERT INTO plain
SELECT sent_at / 86400000, step, campaign, count(*), min(sent_at), max(sent_at)
FROM messages
WHERE key > :after AND key <= :upto AND campaign IS NOT NULL AND sent_at IS NOT NULL
      AND soft_at IS NULL AND hard_at IS NULL
GROUP BY 1, 2, 3
ON CONFLICT (day, step, campaign) DO UPDATE SET
    sent = sent + excluded.sent, first = min(first, excluded.first), last = max(last, excluded.last)

-- name: count_plain_minutes
-- The same by minute, as far back as minutes are kept.
INSERT INTO temp.minutes
SELECT campaign, sent_at / 60000, count(*), 0, 0, 0, 0
FROM messages
WHERE key > :after AND key <= :upto AND campaign IS NOT NULL AND sent_at >= :horizon
      AND soft_at IS NULL AND hard_at IS NULL
GROUP BY 1, 2
ON CONFLICT (campaign, minute) DO UPDATE SET sent = sent + excluded.sent

-- name: begin_baselines
-- Nothing is counted yet.
INSERT INTO temp.baseline_ledgers SELECT campaign, at, 0, 0, 0, 0, 0 FROM main.baseline_ledgers

-- name: count_plain_baselines
-- Plain sends up to the moments of campaigns' first snapshots.
UPDATE temp.baseline_ledgers SET sent = baseline_ledgers.sent + plain.sent
FROM (
    SELECT messages.campaign AS campaign, held.at AS at, count(*) AS sent
    FROM messages JOIN main.baseline_ledgers AS held ON held.campaign = messages.campaign AND sent_at <= at
    WHERE key > :after AND key <= :upto AND soft_at IS NULL AND hard_at IS NULL
    GROUP BY 1, 2
) AS plain
WHERE baseline_ledgers.campaign = plain.campaign AND baseline_ledgers.at = plain.at

-- name: add_plain_days
-- Plain sends in the days of their campaigns, and of the workspace.
INSERT INTO temp.days
SELECT campaign, step, day * 96, sent, sent, sent, 0, 0, 0, 0, 0, 0, 0
FROM (SELECT campaign, step, day, sent FROM plain
      UNION ALL SELECT 0, step, day, sum(sent) FROM plain GROUP BY day, step)
WHERE true
ON CONFLICT (quarter, step, campaign) DO UPDATE SET
    sent = sent + excluded.sent, attempted = attempted + excluded.attempted,
    accepted = accepted + excluded.accepted

-- name: add_plain_totals
-- Plain sends in the totals of their steps and campaigns.
INSERT INTO temp.totals (campaign, step, sent, attempted, accepted, bounced, bounced_hard, bounced_soft, replies,
                         replied, replied_human, starts)
SELECT campaign, step, sent, sent, sent, 0, 0, 0, 0, 0, 0, 0
FROM (SELECT campaign, step, sum(sent) AS sent FROM plain GROUP BY campaign, step
      UNION ALL SELECT campaign, -1, sum(sent) FROM plain GROUP BY campaign)
WHERE true
ON CONFLICT (campaign, step) DO UPDATE SET
    sent = sent + excluded.sent, attempted = attempted + excluded.attempted,
    accepted = accepted + excluded.accepted

-- name: campaigns_counted
-- Campaigns that have totals.
SELECT campaign FROM temp.totals WHERE step = -1

-- name: add_plain_spans
-- Plain sends in the spans of their campaigns.
INSERT INTO spans SELECT campaign, min(first), max(last) FROM plain GROUP BY campaign

-- name: widen_span
-- Other events of a campaign.
INSERT INTO spans VALUES (?, ?, ?)
ON CONFLICT (campaign) DO UPDATE SET first = min(first, excluded.first), last = max(last, excluded.last)

-- name: bounced_messages
-- Messages with a bounce, to be booked one by one.
SELECT campaign, step, sent_at, soft_at, hard_at, soft_reason, hard_reason, domains.domain
FROM messages LEFT JOIN domains ON domains.id = messages.domain
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

-- name: series_differences
-- Expected less held, where they differ, of what is expected.
SELECT should.campaign, should.step, should.quarter,
       should.sent - ifnull(held.sent, 0), should.attempted - ifnull(held.attempted, 0),
       should.accepted - ifnull(held.accepted, 0), should.bounced - ifnull(held.bounced, 0),
       should.bounced_hard - ifnull(held.bounced_hard, 0), should.bounced_soft - ifnull(held.bounced_soft, 0),
       should.replies - ifnull(held.replies, 0), should.replied - ifnull(held.replied, 0),
       should.replied_human - ifnull(held.replied_human, 0), should.starts - ifnull(held.starts, 0)
FROM temp.series AS should LEFT JOIN main.series AS held USING (campaign, quarter, step)
WHERE should.campaign > 0
      AND (should.sent <> ifnull(held.sent, 0) OR should.attempted <> ifnull(held.attempted, 0)
           OR should.accepted <> ifnull(held.accepted, 0) OR should.bounced <> ifnull(held.bounced, 0)
           OR should.bounced_hard <> ifnull(held.bounced_hard, 0)
           OR should.bounced_soft <> ifnull(held.bounced_soft, 0) OR should.replies <> ifnull(held.replies, 0)
           OR should.replied <> ifnull(held.replied, 0) OR should.replied_human <> ifnull(held.replied_human, 0)
           OR should.starts <> ifnull(held.starts, 0))

-- name: series_rows_expected
-- How many rows of campaigns are more than zeros.
SELECT count(*) FROM temp.series
WHERE campaign > 0 AND (sent | attempted | accepted | bounced | bounced_hard | bounced_soft | replies | replied
                        | replied_human | starts) <> 0

-- name: series_rows_held
-- How many rows of campaigns are more than zeros.
SELECT count(*) FROM main.series
WHERE campaign > 0 AND (sent | attempted | accepted | bounced | bounced_hard | bounced_soft | replies | replied
                        | replied_human | starts) <> 0

-- name: series_unexpected
-- What is to be taken away, of what is not expected at all.
SELECT campaign, step, quarter, -sent, -attempted, -accepted, -bounced, -bounced_hard, -bounced_soft, -replies,
       -replied, -replied_human, -starts
FROM main.series AS held
WHERE campaign > 0
      AND (sent | attempted | accepted | bounced | bounced_hard | bounced_soft | replies | replied
           | replied_human | starts) <> 0
      AND NOT EXISTS (SELECT 1 FROM temp.series AS should
                      WHERE should.quarter = held.quarter AND should.step = held.step
                            AND should.campaign = held.campaign)

-- name: workspace_differences
-- Expected less held, where they differ: the workspace is the sum of its campaigns.
SELECT 0, step, quarter, sum(sent), sum(attempted), sum(accepted), sum(bounced), sum(bounced_hard),
       sum(bounced_soft), sum(replies), sum(replied), sum(replied_human), sum(starts)
FROM (
    SELECT step, quarter, sum(sent) AS sent, sum(attempted) AS attempted, sum(accepted) AS accepted,
           sum(bounced) AS bounced, sum(bounced_hard) AS bounced_hard, sum(bounced_soft) AS bounced_soft,
           sum(replies) AS replies, sum(replied) AS replied, sum(replied_human) AS replied_human,
           sum(starts) AS starts
    FROM temp.series WHERE campaign > 0 GROUP BY quarter, step
    UNION ALL
    SELECT step, quarter, -sent, -attempted, -accepted, -bounced, -bounced_hard, -bounced_soft, -replies, -replied,
           -replied_human, -starts
    FROM main.series WHERE campaign = 0
)
GROUP BY quarter, step
HAVING sum(sent) OR sum(attempted) OR sum(accepted) OR sum(bounced) OR sum(bounced_hard) OR sum(bounced_soft)
       OR sum(replies) OR sum(replied) OR sum(replied_human) OR sum(starts)

-- name: days_differences
-- Expected less held, where they differ; campaign 0 is the workspace.
SELECT campaign, step, quarter, sum(sent), sum(attempted), sum(accepted), sum(bounced), sum(bounced_hard),
       sum(bounced_soft), sum(replies), sum(replied), sum(replied_human), sum(starts)
FROM (
    SELECT campaign, step, quarter, sent, attempted, accepted, bounced, bounced_hard, bounced_soft, replies,
           replied, replied_human, starts
    FROM temp.days
    UNION ALL
    SELECT campaign, step, quarter, -sent, -attempted, -accepted, -bounced, -bounced_hard, -bounced_soft,
           -replies, -replied, -replied_human, -starts
    FROM main.days
)
GROUP BY campaign, quarter, step
HAVING sum(sent) OR sum(attempted) OR sum(accepted) OR sum(bounced) OR sum(bounced_hard) OR sum(bounced_soft)
       OR sum(replies) OR sum(replied) OR sum(replied_human) OR sum(starts)

-- name: shifts_differences
-- Expected less held, where they differ; campaign 0 is the workspace.
SELECT campaign, step, quarter, sum(attempted), sum(accepted), sum(bounced), sum(bounced_hard), sum(bounced_soft),
       sum(replies), sum(replied), sum(replied_human), sum(bounced_unsent), sum(bounced_hard_unsent)
FROM (
    SELECT campaign, step, quarter, attempted, accepted, bounced, bounced_hard, bounced_soft, replies, replied,
           replied_human, bounced_unsent, bounced_hard_unsent
    FROM temp.shifts
    UNION ALL
    SELECT campaign, step, quarter, -attempted, -accepted, -bounced, -bounced_hard, -bounced_soft, -replies, -replied,
           -replied_human, -bounced_unsent, -bounced_hard_unsent
    FROM main.shifts
)
GROUP BY campaign, quarter, step
HAVING sum(attempted) OR sum(accepted) OR sum(bounced) OR sum(bounced_hard) OR sum(bounced_soft) OR sum(replies)
       OR sum(replied) OR sum(replied_human) OR sum(bounced_unsent) OR sum(bounced_hard_unsent)

-- name: bounces_differences
-- Expected less held, where they differ.
SELECT campaign, step, quarter, reason, domain, sum(bounced_hard), sum(bounced_soft)
FROM (
    SELECT campaign, step, quarter, reason, domain, bounced_hard, bounced_soft FROM temp.bounces
    UNION ALL
    SELECT campaign, step, quarter, reason, domain, -bounced_hard, -bounced_soft FROM main.bounces
)
GROUP BY campaign, quarter, step, reason, domain
HAVING sum(bounced_hard) OR sum(bounced_soft)

-- name: unsent_differences
-- Expected less held, where they differ; step -1 is the whole campaign.
SELECT campaign, step, sum(bounced_unsent), sum(bounced_hard_unsent)
FROM (
    SELECT campaign, step, bounced_unsent, bounced_hard_unsent FROM temp.totals
    UNION ALL
    SELECT campaign, step, -bounced_unsent, -bounced_hard_unsent FROM main.totals
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
    FROM temp.totals
    UNION ALL
    SELECT campaign, step, -sent, -attempted, -accepted, -bounced, -bounced_hard, -bounced_soft,
           -replies, -replied, -replied_human, -starts
    FROM main.totals
)
GROUP BY campaign, step
HAVING sum(sent) OR sum(attempted) OR sum(accepted) OR sum(bounced) OR sum(bounced_hard) OR sum(bounced_soft)
       OR sum(replies) OR sum(replied) OR sum(replied_human) OR sum(starts)

-- name: minutes_differences
-- Expected less held, where they differ, as far back as minutes are kept.
SELECT campaign, minute, sum(sent), sum(bounced), sum(bounced_soft), sum(replied), sum(replied_human)
FROM (
    SELECT campaign, minute, sent, bounced, bounced_soft, replied, replied_human FROM temp.minutes
    UNION ALL
    SELECT campaign, minute, -sent, -bounced, -bounced_soft, -replied, -replied_human
    FROM main.minutes WHERE minute >= :horizon_minute
)
GROUP BY minute, campaign
HAVING sum(sent) OR sum(bounced) OR sum(bounced_soft) OR sum(replied) OR sum(replied_human)

-- name: baseline_differences
-- Expected less held, where they differ; the place last, as it is added.
SELECT should.sent - held.sent, should.bounced - held.bounced, should.bounced_soft - held.bounced_soft,
       should.replied - held.replied, should.replied_human - held.replied_human, held.campaign, held.at
FROM temp.baseline_ledgers AS should JOIN main.baseline_ledgers AS held USING (campaign, at)
WHERE should.sent <> held.sent OR should.bounced <> held.bounced OR should.bounced_soft <> held.bounced_soft
      OR should.replied <> held.replied OR should.replied_human <> held.replied_human

-- name: contacted_differences
-- Campaigns whose `contacted` is not the sends of their lowest step.
SELECT held.campaign FROM main.totals AS held LEFT JOIN temp.totals AS should USING (campaign, step)
WHERE step = -1 AND held.contacted <> coalesce(should.contacted, 0)

-- name: span_differences
-- Campaigns whose earliest or latest event is another than held, but for those about to be measured.
SELECT id FROM campaigns LEFT JOIN spans ON campaign = id
WHERE span_removals = 0 AND (first_event_at IS NOT first OR last_event_at IS NOT last)
