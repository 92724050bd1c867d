-- Leadterra's counters, what they say about the ledger, and what is missing. Times are epoch milliseconds, UTC.
BEGIN IMMEDIATE;

-- By campaign first: reconciliation asks for one campaign's last hours.
CREATE TABLE minutes_by_campaign (
    campaign INTEGER NOT NULL,
    minute INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    bounced INTEGER NOT NULL,
    bounced_soft INTEGER NOT NULL,
    replied INTEGER NOT NULL,
    replied_human INTEGER NOT NULL,
    PRIMARY KEY (campaign, minute)
) STRICT, WITHOUT ROWID;
INSERT INTO minutes_by_campaign
SELECT campaign, minute, sent, bounced, bounced_soft, replied, replied_human FROM minutes ORDER BY campaign, minute;
DROP TABLE minutes;
ALTER TABLE minutes_by_campaign RENAME TO minutes;
CREATE INDEX minutes_by_minute ON minutes (minute);

-- 0 a delivery, 1 a reply fetched from the API.
ALTER TABLE journal ADD COLUMN origin INTEGER NOT NULL DEFAULT 0;

DROP VIEW event_rows;
-- One event at its first delivery, as the ledger knows it now, while the journal keeps the body.
CREATE VIEW event_rows AS
SELECT journal.seq AS seq, journal.kind AS kind, journal.campaign AS campaign, campaign_id, received_at, copies,
       journal.origin AS origin, body, coalesce(messages.step, replies.step) AS step,
       CASE journal.kind WHEN 1 THEN starts.at WHEN 2 THEN sent_at WHEN 3 THEN soft_at WHEN 4 THEN hard_at
                         ELSE replies.at END AS occurred_at
FROM journal
LEFT JOIN campaigns ON campaigns.id = journal.campaign
LEFT JOIN messages ON journal.kind IN (2, 3, 4) AND messages.key = journal.key
LEFT JOIN replies ON journal.kind = 5 AND replies.key = journal.key
LEFT JOIN starts ON journal.kind = 1 AND starts.key = journal.key
WHERE role = 1;

CREATE INDEX quarantine_of_campaign ON quarantine (campaign_id, received_at)
WHERE resolved_at IS NULL AND campaign_id IS NOT NULL;
CREATE INDEX quarantine_unattributed ON quarantine (reason) WHERE resolved_at IS NULL AND campaign_id IS NULL;
-- Messages bounced before their send, or whose send was never seen.
CREATE INDEX messages_without_send ON messages (campaign) WHERE sent_at IS NULL;

-- When each campaign was asked and will be asked again.
CREATE TABLE polls (
    campaign INTEGER PRIMARY KEY,
    added_at INTEGER, -- by hand
    asked_at INTEGER,
    answered_at INTEGER,
    moved_at INTEGER, -- a counter moved
    wait_ms INTEGER NOT NULL DEFAULT 0, -- after `asked_at`
    gone_at INTEGER,
    failure TEXT -- of the last attempt
) STRICT;

-- A campaign's first snapshot.
CREATE TABLE baselines (
    campaign INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    counters TEXT NOT NULL
) STRICT;

-- The ledger as of it: as of the earliest and the latest moment that it can have been taken at. Kept up to date by
-- every event that lies before them.
CREATE TABLE baseline_ledgers (
    campaign INTEGER NOT NULL,
    at INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    bounced INTEGER NOT NULL,
    bounced_soft INTEGER NOT NULL,
    replied INTEGER NOT NULL,
    replied_human INTEGER NOT NULL,
    PRIMARY KEY (campaign, at)
) STRICT, WITHOUT ROWID;

-- Equal answers in a row are one row. Those that are settled are folded into `losses` and go, but for the last.
CREATE TABLE snapshots (
    campaign INTEGER NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    counters TEXT NOT NULL,
    PRIMARY KEY (campaign, first_at)
) STRICT, WITHOUT ROWID;

-- What the folded snapshots proved, per figure, and the last quiet one of them.
CREATE TABLE losses (
    campaign INTEGER NOT NULL,
    figure TEXT NOT NULL,
    upto INTEGER NOT NULL, -- how far snapshots are folded
    quiet_at INTEGER NOT NULL,
    gaps TEXT NOT NULL,
    quiet_counters TEXT, -- of that snapshot, with the ledger as of it
    quiet_counts TEXT,
    PRIMARY KEY (campaign, figure)
) STRICT, WITHOUT ROWID;

-- Each campaign's drift as of its last snapshot.
CREATE TABLE drift (
    campaign INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    status TEXT NOT NULL,
    at_least INTEGER NOT NULL, -- of all figures
    sent_before INTEGER NOT NULL, -- `before_receiver` of sent: while above 0 the ledger holds not all messages
    at_first INTEGER NOT NULL, -- the counts of the ledger as of the first snapshot, summed; when another now ...
    counts TEXT NOT NULL, -- ... or the ledger as of a minute after the last one is, the drift may be too
    figures TEXT NOT NULL
) STRICT;

CREATE TABLE gaps (
    campaign INTEGER NOT NULL,
    figure TEXT NOT NULL,
    to_at INTEGER NOT NULL,
    cause TEXT NOT NULL,
    from_at INTEGER NOT NULL,
    at_least INTEGER NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (campaign, figure, to_at, cause)
) STRICT, WITHOUT ROWID;
CREATE INDEX gaps_open ON gaps (campaign) WHERE state NOT IN ('healed', 'superseded');
CREATE INDEX gaps_closed ON gaps (to_at) WHERE state IN ('healed', 'superseded');

CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    trigger TEXT NOT NULL,
    status TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER,
    campaigns INTEGER NOT NULL DEFAULT 0,
    done INTEGER NOT NULL DEFAULT 0, -- of them
    failed INTEGER NOT NULL DEFAULT 0,
    differing INTEGER NOT NULL DEFAULT 0,
    errors TEXT NOT NULL DEFAULT '[]'
) STRICT;
CREATE INDEX runs_open ON runs (id) WHERE status = 'running';

-- Intervals that tell what a counter means: the candidates that fitted.
CREATE TABLE evidence (
    id INTEGER PRIMARY KEY,
    figure TEXT NOT NULL,
    campaign INTEGER NOT NULL,
    from_at INTEGER NOT NULL,
    to_at INTEGER NOT NULL,
    fits TEXT NOT NULL
) STRICT;
CREATE INDEX evidence_by_figure ON evidence (figure, id);

CREATE TABLE alarms (
    code TEXT NOT NULL,
    subject TEXT NOT NULL, -- what it is about: a campaign, an event, or nothing
    campaign_id TEXT,
    since INTEGER NOT NULL,
    deadline INTEGER,
    detail TEXT NOT NULL,
    clean_runs INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (code, subject)
) STRICT, WITHOUT ROWID;

DROP VIEW campaign_rows;
-- One campaign with its totals and starts. One that no event has named is shown, without totals, once somebody added
-- it or Leadterra answered for it.
CREATE VIEW campaign_rows AS
SELECT campaigns.id AS id, campaign_id, name, first_event_at, last_event_at, started_at, last_started_at,
       CASE WHEN gone_at IS NOT NULL THEN 'gone' WHEN started_at IS NOT NULL THEN 'started' ELSE 'unknown'
       END AS status,
       failure, sent_before, sent, attempted, accepted, contacted, bounced, bounced_hard, bounced_soft, replies,
       replied, replied_human, starts
FROM (SELECT *, (SELECT min(at) FROM starts WHERE starts.campaign = campaigns.id) AS started_at,
             (SELECT max(at) FROM starts WHERE starts.campaign = campaigns.id) AS last_started_at
      FROM campaigns) AS campaigns
LEFT JOIN totals ON totals.campaign = campaigns.id AND totals.step = -1 AND first_event_at IS NOT NULL
LEFT JOIN polls ON polls.campaign = campaigns.id
LEFT JOIN drift ON drift.campaign = campaigns.id
WHERE first_event_at IS NOT NULL OR added_at IS NOT NULL OR answered_at IS NOT NULL;

PRAGMA user_version = 2;
COMMIT;
