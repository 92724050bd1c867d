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

CREATE INDEX quarantine_of_campaign ON quarantine (campaign_id, received_at)
WHERE resolved_at IS NULL AND campaign_id IS NOT NULL;
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

-- A campaign's first snapshot, and the ledger as of it: kept up to date by every event that lies before it.
CREATE TABLE baselines (
    campaign INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    counters TEXT NOT NULL,
    sent INTEGER NOT NULL,
    bounced INTEGER NOT NULL,
    bounced_soft INTEGER NOT NULL,
    replied INTEGER NOT NULL,
    replied_human INTEGER NOT NULL
) STRICT;

-- Equal answers in a row are one row. Those that are settled are folded into `losses` and go, but for the last.
CREATE TABLE snapshots (
    campaign INTEGER NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    counters TEXT NOT NULL,
    folded INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (campaign, first_at)
) STRICT, WITHOUT ROWID;

-- What the folded snapshots proved, per figure, and the last quiet one of them.
CREATE TABLE losses (
    campaign INTEGER NOT NULL,
    figure TEXT NOT NULL,
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
    figures TEXT NOT NULL,
    counts TEXT NOT NULL -- the ledger as of a minute later; when it is another now, the drift is too
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

CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    trigger TEXT NOT NULL,
    status TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER,
    campaigns INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    differing INTEGER NOT NULL DEFAULT 0,
    errors TEXT NOT NULL DEFAULT '[]'
) STRICT;

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

PRAGMA user_version = 2;
COMMIT;
