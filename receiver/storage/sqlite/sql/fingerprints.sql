-- Fingerprints of the ledger and of the figures, in temporary tables of reading connections. All weights are below a
-- prime near 2^31: a product of two of them, and a sum of two products, are exact integers.

-- name: create_campaign_weights
-- With what the campaign's events are held against: its span, and the moments of its first snapshot.
CREATE TEMP TABLE campaign_weights (
    id INTEGER PRIMARY KEY,
    alone INTEGER NOT NULL,
    with_workspace INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    early_at INTEGER, early INTEGER NOT NULL,
    late_at INTEGER, late INTEGER NOT NULL -- the later moment, or the only one
)

-- name: create_step_weights
-- Of steps over time, in totals, and there with the whole campaign, which is step -1.
CREATE TEMP TABLE step_weights (
    id INTEGER PRIMARY KEY, step INTEGER NOT NULL, in_totals INTEGER NOT NULL, with_campaign INTEGER NOT NULL
)

-- name: create_quarter_weights
-- Of quarters of an hour, of the days in which they lie, and of both.
CREATE TEMP TABLE quarter_weights (
    id INTEGER PRIMARY KEY, quarter INTEGER NOT NULL, day INTEGER NOT NULL, with_day INTEGER NOT NULL
)

-- name: create_minute_weights
-- As far back as minutes are kept.
CREATE TEMP TABLE minute_weights (id INTEGER PRIMARY KEY, minute INTEGER NOT NULL)

-- name: create_shapes
-- What a row of the ledger books at each of its times, weighed. A shape is which of its times it has and their order.
CREATE TEMP TABLE shapes (
    shape INTEGER NOT NULL,
    place INTEGER NOT NULL, -- which of the row's times
    is_event INTEGER NOT NULL, -- 0 at the send that a reply answers
    figures INTEGER NOT NULL,
    shifts INTEGER NOT NULL,
    unsent INTEGER NOT NULL,
    minutes INTEGER NOT NULL,
    bounced_hard INTEGER NOT NULL, -- counts
    bounced_soft INTEGER NOT NULL,
    PRIMARY KEY (shape, place)
) WITHOUT ROWID

-- name: create_bounced
-- Messages with a bounce.
CREATE TEMP TABLE bounced (
    campaign INTEGER, step INTEGER, sent_at INTEGER, soft_at INTEGER, hard_at INTEGER, shape INTEGER, reason TEXT,
    domain TEXT
)

-- name: create_replied
-- Leads' first replies and first human replies.
CREATE TEMP TABLE replied (campaign INTEGER, step INTEGER, at INTEGER, sent_at INTEGER, shape INTEGER)

-- name: create_expected_bounces
-- In the order of what they are compared with.
CREATE TEMP TABLE expected_bounces (
    campaign INTEGER, step INTEGER, quarter INTEGER, reason TEXT, domain TEXT,
    bounced_hard INTEGER, bounced_soft INTEGER,
    PRIMARY KEY (campaign, quarter, step, reason, domain)
) WITHOUT ROWID

-- name: create_bookings
-- All bookings but those of plain sends. Fetched replies book nothing, in no step; they are events of their campaign.
CREATE TEMP VIEW bookings AS
SELECT campaign, step, CASE place WHEN 0 THEN sent_at WHEN 1 THEN soft_at ELSE hard_at END AS at, shapes.*
FROM bounced CROSS JOIN shapes USING (shape)
UNION ALL
SELECT campaign, step, CASE place WHEN 0 THEN at ELSE ifnull(sent_at, 2147483648 * 900000) END AS at, shapes.*
FROM (
    SELECT campaign, step, at, message_sent_at AS sent_at, -1 AS shape
    FROM replies WHERE campaign IS NOT NULL AND origin = 0
    UNION ALL SELECT campaign, -1, at, NULL, -2 FROM replies WHERE campaign IS NOT NULL AND origin <> 0
    UNION ALL SELECT campaign, step, at, sent_at, shape FROM replied
    UNION ALL SELECT campaign, 2147483648, at, NULL, -5 FROM starts
) CROSS JOIN shapes USING (shape)

-- name: data_version
-- Changes when another connection has committed.
PRAGMA data_version

-- name: begin_snapshot
-- The first read of a transaction takes its snapshot.
SELECT count(*) FROM sqlite_schema

-- name: ledger_estimated
-- About how many rows the ledger has, as the figures say: for who watches.
SELECT CAST(max(total(attempted) + total(replies) + total(starts), 0) AS INTEGER) FROM totals WHERE step = -1

-- name: campaigns
-- Campaigns and their spans; one that is about to be measured has any span.
SELECT id, span_removals <> 0 AS measured, first_event_at, last_event_at FROM campaigns ORDER BY id

-- name: steps
-- Steps that have figures.
SELECT DISTINCT step FROM totals WHERE step >= 0 ORDER BY step

-- name: quarters
-- From when until when there are events: some, a soft bounce after a hard one, are in no figure.
SELECT min(first_event_at) / 900000, max(last_event_at) / 900000 FROM campaigns

-- name: waiting
-- Messages whose campaign is not known count nowhere.
SELECT count(*) FROM messages WHERE campaign IS NULL AND key > :after AND key <= :upto

-- name: other_rows
-- Replies and starts.
SELECT (SELECT count(*) FROM replies) + (SELECT count(*) FROM starts)

-- name: weigh_plain
-- Messages with a send and no bounce.
-- How many there are whose place has weights; the sum of these in series, days and totals, in minutes, and in what is
-- held of campaigns' first snapshots; campaigns of which one is the first event, or the last, and null where one lies
-- outside its campaign's span.
SELECT count(*),
       sum(with_workspace * ((with_day * steps.step + with_campaign) % :prime) % :prime),
       sum(CASE WHEN sent_at >= :horizon THEN
           with_workspace * (SELECT minute FROM minute_weights WHERE id = sent_at / 60000) % :prime END),
       sum(CASE WHEN sent_at <= late_at THEN late + CASE WHEN sent_at <= early_at THEN early ELSE 0 END END),
       json_group_array(CASE WHEN sent_at = first THEN campaign END) FILTER (WHERE sent_at <= first),
       json_group_array(CASE WHEN sent_at = last THEN campaign END) FILTER (WHERE sent_at >= last)
FROM messages
CROSS JOIN campaign_weights AS campaigns ON campaigns.id = campaign
CROSS JOIN step_weights AS steps ON steps.id = messages.step
CROSS JOIN quarter_weights AS quarters ON quarters.id = sent_at / 900000
WHERE key > :after AND key <= :upto AND sent_at IS NOT NULL AND soft_at IS NULL AND hard_at IS NULL

-- name: gather_bounced
-- Messages with a bounce, with which of their times they have and how those are ordered.
INSERT INTO bounced
SELECT campaign, step, sent_at, soft_at, hard_at,
       64 * (hard_at IS NOT NULL) + 16 * ifnull(1 + (sent_at >= soft_at) + (sent_at > soft_at), 0)
       + 4 * ifnull(1 + (sent_at >= hard_at) + (sent_at > hard_at), 0)
       + ifnull(1 + (soft_at >= hard_at) + (soft_at > hard_at), 0),
       reason_class(ifnull(hard_reason, soft_reason)), ifnull(domains.domain, '')
FROM messages LEFT JOIN domains ON domains.id = messages.domain
WHERE key > :after AND key <= :upto AND campaign IS NOT NULL AND (soft_at IS NOT NULL OR hard_at IS NOT NULL)

-- name: gather_replied
-- A lead's first reply, or first human reply.
INSERT INTO replied VALUES (?, ?, ?, ?, ?)

-- name: put_campaign_weights
-- One campaign, or the workspace.
INSERT INTO campaign_weights VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: put_step_weights
-- One step.
INSERT INTO step_weights VALUES (?, ?, ?, ?)

-- name: put_quarter_weights
-- One quarter of an hour.
INSERT INTO quarter_weights VALUES (?, ?, ?, ?)

-- name: put_minute_weights
-- One minute.
INSERT INTO minute_weights VALUES (?, ?)

-- name: put_shape
-- One shape at one of its places.
INSERT INTO shapes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: weigh_bookings
-- The same of all other bookings, whole: their figures are in the weights of their shapes.
SELECT count(*),
       sum(with_workspace * (
               ((quarter * ((figures + shifts) % :prime) + day * figures) % :prime * steps.step
                + with_campaign * ((figures + unsent) % :prime)) % :prime) % :prime),
       sum(CASE WHEN minutes > 0 AND at >= :horizon THEN
           with_workspace * (SELECT minute FROM minute_weights WHERE id = at / 60000) % :prime * minutes % :prime END),
       sum(CASE WHEN minutes > 0 AND at <= late_at THEN
           (late + CASE WHEN at <= early_at THEN early ELSE 0 END) % :prime * minutes % :prime END),
       json_group_array(CASE WHEN at = first THEN campaign END) FILTER (WHERE is_event AND at <= first),
       json_group_array(CASE WHEN at = last THEN campaign END) FILTER (WHERE is_event AND at >= last)
FROM bookings
CROSS JOIN campaign_weights AS campaigns ON campaigns.id = campaign
CROSS JOIN step_weights AS steps ON steps.id = bookings.step
CROSS JOIN quarter_weights AS quarters ON quarters.id = at / 900000

-- name: bookings_made
-- How many there are.
SELECT count(*) FROM bookings

-- name: expect_bounces
-- Bounces by reason and domain.
INSERT INTO expected_bounces
SELECT campaign, step, CASE place WHEN 0 THEN sent_at WHEN 1 THEN soft_at ELSE hard_at END / 900000, reason, domain,
       sum(bounced_hard), sum(bounced_soft)
FROM bounced CROSS JOIN shapes USING (shape)
WHERE bounced_hard <> 0 OR bounced_soft <> 0
GROUP BY campaign, 3, step, reason, domain

-- name: bounces_equal
-- How many rows of bounces there should be, how many of them there are, and how many there are at all.
SELECT count(*), coalesce(sum(held.bounced_hard = should.bounced_hard AND held.bounced_soft = should.bounced_soft), 0),
       (SELECT count(*) FROM bounces WHERE bounced_hard <> 0 OR bounced_soft <> 0)
FROM expected_bounces AS should LEFT JOIN bounces AS held USING (campaign, quarter, step, reason, domain)
WHERE should.bounced_hard <> 0 OR should.bounced_soft <> 0

-- name: weigh_series
-- The figures of quarters of an hour, weighed; whether every place has a weight, but for those of rows of zeros.
SELECT sum(alone * quarter_weights.quarter % :prime * step_weights.step % :prime * ((
               sent * :sent + attempted * :attempted + accepted * :accepted + bounced * :bounced
               + bounced_hard * :bounced_hard + bounced_soft * :bounced_soft + replies * :replies
               + replied * :replied + replied_human * :replied_human + starts * :starts) % :prime) % :prime),
       (count(*) = (SELECT count(*) FROM series) OR NOT EXISTS (
           SELECT 1 FROM series
           WHERE (sent | attempted | accepted | bounced | bounced_hard | bounced_soft | replies | replied
                  | replied_human | starts) <> 0
                 AND NOT (campaign IN (SELECT id FROM campaign_weights)
                          AND step IN (SELECT id FROM step_weights)
                          AND quarter IN (SELECT id FROM quarter_weights))))
FROM series AS held
CROSS JOIN campaign_weights ON campaign_weights.id = campaign
CROSS JOIN step_weights ON step_weights.id = held.step
CROSS JOIN quarter_weights ON quarter_weights.id = held.quarter

-- name: weigh_shifts
-- What books at the send.
SELECT sum(alone * quarter_weights.quarter % :prime * step_weights.step % :prime * ((
               attempted * :attempted + accepted * :accepted + bounced * :bounced
               + bounced_hard * :bounced_hard + bounced_soft * :bounced_soft + replies * :replies
               + replied * :replied + replied_human * :replied_human + bounced_unsent * :bounced_unsent
               + bounced_hard_unsent * :bounced_hard_unsent) % :prime) % :prime),
       (count(*) = (SELECT count(*) FROM shifts) OR NOT EXISTS (
           SELECT 1 FROM shifts
           WHERE (attempted | accepted | bounced | bounced_hard | bounced_soft | replies | replied | replied_human
                  | bounced_unsent | bounced_hard_unsent) <> 0
                 AND NOT (campaign IN (SELECT id FROM campaign_weights)
                          AND step IN (SELECT id FROM step_weights)
                          AND quarter IN (SELECT id FROM quarter_weights))))
FROM shifts AS held
CROSS JOIN campaign_weights ON campaign_weights.id = campaign
CROSS JOIN step_weights ON step_weights.id = held.step
CROSS JOIN quarter_weights ON quarter_weights.id = held.quarter

-- name: weigh_totals
-- Campaigns and their steps; `contacted` is a function of them.
SELECT sum(with_workspace * in_totals % :prime * ((
               sent * :sent + attempted * :attempted + accepted * :accepted + bounced * :bounced
               + bounced_hard * :bounced_hard + bounced_soft * :bounced_soft + replies * :replies
               + replied * :replied + replied_human * :replied_human + starts * :starts
               + bounced_unsent * :bounced_unsent + bounced_hard_unsent * :bounced_hard_unsent) % :prime) % :prime),
       (count(*) = (SELECT count(*) FROM totals) OR NOT EXISTS (
           SELECT 1 FROM totals
           WHERE (sent | attempted | accepted | bounced | bounced_hard | bounced_soft | replies | replied
                  | replied_human | starts | bounced_unsent | bounced_hard_unsent | (step = -1) * contacted) <> 0
                 AND NOT (campaign IN (SELECT id FROM campaign_weights)
                          AND step IN (SELECT id FROM step_weights))))
       AND NOT coalesce(sum(held.step = -1 AND contacted <> coalesce((
           SELECT steps.sent FROM totals AS steps
           WHERE steps.campaign = held.campaign AND steps.step >= 0 AND steps.sent > 0
           ORDER BY steps.step LIMIT 1), 0)), 0)
FROM totals AS held
CROSS JOIN campaign_weights ON campaign_weights.id = campaign
CROSS JOIN step_weights ON step_weights.id = held.step

-- name: weigh_minutes
-- As far back as minutes are kept.
SELECT sum(with_workspace * minute_weights.minute % :prime * ((
               sent * :sent + bounced * :bounced + bounced_soft * :bounced_soft + replied * :replied
               + replied_human * :replied_human) % :prime) % :prime),
       (count(*) = (SELECT count(*) FROM minutes WHERE minute >= :horizon_minute) OR NOT EXISTS (
           SELECT 1 FROM minutes
           WHERE minute >= :horizon_minute AND (sent | bounced | bounced_soft | replied | replied_human) <> 0
                 AND NOT (campaign IN (SELECT id FROM campaign_weights)
                          AND minute IN (SELECT id FROM minute_weights))))
FROM minutes AS held
CROSS JOIN campaign_weights ON campaign_weights.id = campaign
CROSS JOIN minute_weights ON minute_weights.id = held.minute
WHERE held.minute >= :horizon_minute

-- name: weigh_baselines
-- The ledger as of campaigns' first snapshots.
SELECT sum(CASE at WHEN early_at THEN early ELSE late END * ((
               sent * :sent + bounced * :bounced + bounced_soft * :bounced_soft + replied * :replied
               + replied_human * :replied_human) % :prime) % :prime),
       count(*) = (SELECT count(*) FROM baseline_ledgers
                   WHERE campaign > 0 OR (sent | bounced | bounced_soft | replied | replied_human) <> 0)
FROM baseline_ledgers CROSS JOIN campaign_weights ON campaign_weights.id = campaign
WHERE campaign > 0
