-- The ledger, the journal, the figures and what proves them. Times are epoch milliseconds, UTC.
BEGIN IMMEDIATE;

-- Facts about this database: install time, keys that never leave it.
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE secrets (
    id INTEGER PRIMARY KEY,
    fingerprint BLOB NOT NULL UNIQUE, -- HMAC of the secret under the database's own key
    first_seen_at INTEGER NOT NULL
) STRICT;

-- Raw bodies that the ledger was made from. The newest row is never deleted: seq is never used twice.
CREATE TABLE journal (
    seq INTEGER PRIMARY KEY,
    received_at INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    key BLOB NOT NULL,
    campaign INTEGER, -- the event's campaign as the ledger knows it now
    role INTEGER NOT NULL, -- 1 first delivery of its event, 2 unequal copy taken in, 3 unequal copy not understood
    copies INTEGER NOT NULL, -- of a first delivery: all deliveries of its event
    secret INTEGER, -- which secret verified
    peer TEXT, -- address that posted it
    body BLOB NOT NULL
) STRICT;
CREATE INDEX journal_by_campaign ON journal (campaign, seq) WHERE role = 1;

-- Unequal copies of one event, so that equal ones are told apart from them.
CREATE TABLE variants (
    kind INTEGER NOT NULL,
    key BLOB NOT NULL,
    digest BLOB NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (kind, key, digest)
) STRICT, WITHOUT ROWID;

CREATE TABLE campaigns (
    id INTEGER PRIMARY KEY,
    campaign_id TEXT NOT NULL UNIQUE,
    name TEXT,
    name_at INTEGER, -- time of the event that named it
    first_event_at INTEGER,
    last_event_at INTEGER,
    span_removals INTEGER NOT NULL DEFAULT 0 -- above 0: an end of the span has moved away, it may be too wide
) STRICT;
CREATE INDEX campaigns_with_wide_span ON campaigns (id) WHERE span_removals > 0;

-- One row per messageId; a row without campaign waits for its send.
CREATE TABLE messages (
    key BLOB PRIMARY KEY,
    campaign INTEGER,
    step INTEGER NOT NULL, -- 2147483648 stands for "not known"
    sent_at INTEGER,
    first_received_at INTEGER NOT NULL,
    sent_seq INTEGER, -- journal row of the first delivery
    domain TEXT,
    soft_at INTEGER,
    hard_at INTEGER,
    soft_seq INTEGER,
    hard_seq INTEGER,
    soft_reason TEXT,
    hard_reason TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX messages_without_campaign ON messages (key) WHERE campaign IS NULL;

CREATE TABLE replies (
    key BLOB PRIMARY KEY,
    campaign INTEGER, -- as booked: the send's, else its own
    step INTEGER NOT NULL,
    at INTEGER NOT NULL,
    origin INTEGER NOT NULL,
    first_received_at INTEGER NOT NULL,
    seq INTEGER,
    message BLOB,
    best_campaign INTEGER,
    best_lead BLOB,
    best_class TEXT,
    other_campaign INTEGER,
    other_step INTEGER,
    other_lead BLOB,
    other_class TEXT,
    lead BLOB GENERATED ALWAYS AS (coalesce(best_lead, other_lead)) VIRTUAL,
    class TEXT GENERATED ALWAYS AS (coalesce(best_class, other_class)) VIRTUAL
) STRICT, WITHOUT ROWID;
CREATE INDEX replies_by_message ON replies (message) WHERE message IS NOT NULL;
CREATE INDEX replies_by_lead ON replies (campaign, lead);

CREATE TABLE starts (
    key BLOB PRIMARY KEY,
    campaign INTEGER NOT NULL,
    at INTEGER NOT NULL,
    first_received_at INTEGER NOT NULL,
    seq INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX starts_by_campaign ON starts (campaign, at);

-- Per campaign and step; step -1 is the whole campaign, and the only row that holds `contacted`.
CREATE TABLE totals (
    campaign INTEGER NOT NULL,
    step INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    attempted INTEGER NOT NULL,
    accepted INTEGER NOT NULL,
    bounced INTEGER NOT NULL,
    bounced_hard INTEGER NOT NULL,
    bounced_soft INTEGER NOT NULL,
    replies INTEGER NOT NULL,
    replied INTEGER NOT NULL,
    replied_human INTEGER NOT NULL,
    starts INTEGER NOT NULL,
    contacted INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (campaign, step)
) STRICT, WITHOUT ROWID;

-- Per campaign, step and quarter of an hour (epoch / 900 s): some zones are offset by 30 or 45 minutes.
CREATE TABLE series (
    campaign INTEGER NOT NULL,
    step INTEGER NOT NULL,
    quarter INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    attempted INTEGER NOT NULL,
    accepted INTEGER NOT NULL,
    bounced INTEGER NOT NULL,
    bounced_hard INTEGER NOT NULL,
    bounced_soft INTEGER NOT NULL,
    replies INTEGER NOT NULL,
    replied INTEGER NOT NULL,
    replied_human INTEGER NOT NULL,
    starts INTEGER NOT NULL,
    PRIMARY KEY (campaign, quarter, step)
) STRICT, WITHOUT ROWID;

-- Per campaign and minute (epoch / 60 s) of the last 12 hours: the ledger as of any recent minute.
CREATE TABLE minutes (
    minute INTEGER NOT NULL,
    campaign INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    bounced INTEGER NOT NULL,
    bounced_soft INTEGER NOT NULL,
    replied INTEGER NOT NULL,
    replied_human INTEGER NOT NULL,
    PRIMARY KEY (minute, campaign)
) STRICT, WITHOUT ROWID;

-- Signed bodies that are kept and not counted, and conflicts between copies.
CREATE TABLE quarantine (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    event TEXT,
    campaign_id TEXT,
    kind INTEGER,
    key BLOB,
    received_at INTEGER NOT NULL,
    last_received_at INTEGER NOT NULL,
    copies INTEGER NOT NULL,
    due_at INTEGER, -- when a body that is merely ahead will be understood
    resolved_at INTEGER,
    secret INTEGER,
    peer TEXT,
    digest BLOB NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX quarantine_by_digest ON quarantine (digest);
CREATE INDEX quarantine_by_key ON quarantine (key, kind) WHERE key IS NOT NULL AND resolved_at IS NULL;
CREATE INDEX quarantine_due ON quarantine (due_at) WHERE due_at IS NOT NULL AND resolved_at IS NULL;
CREATE INDEX quarantine_open ON quarantine (reason, id) WHERE resolved_at IS NULL;

-- Stretches in which commits worked: extended by every commit, at rest by one every ten seconds.
CREATE TABLE accepting (
    id INTEGER PRIMARY KEY,
    started_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    stopped INTEGER NOT NULL DEFAULT 0 -- 1 after a clean stop
) STRICT;

-- Stretches in which deliveries shaped like the sender's were refused and nothing was accepted.
CREATE TABLE refusing (
    id INTEGER PRIMARY KEY,
    started_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    refusals INTEGER NOT NULL
) STRICT;

-- One campaign with its totals and starts; campaigns without any event of their own are not shown.
CREATE VIEW campaign_rows AS
SELECT campaigns.id, campaign_id, name, first_event_at, last_event_at,
       (SELECT min(at) FROM starts WHERE starts.campaign = campaigns.id) AS started_at,
       (SELECT max(at) FROM starts WHERE starts.campaign = campaigns.id) AS last_started_at,
       sent, attempted, accepted, contacted, bounced, bounced_hard, bounced_soft, replies, replied,
       replied_human, totals.starts AS starts
FROM campaigns JOIN totals ON totals.campaign = campaigns.id AND totals.step = -1
WHERE first_event_at IS NOT NULL;

-- One event at its first delivery, as the ledger knows it now, while the journal keeps the body.
CREATE VIEW event_rows AS
SELECT journal.seq AS seq, journal.kind AS kind, journal.campaign AS campaign, campaign_id, received_at, copies,
       body, coalesce(messages.step, replies.step) AS step,
       CASE journal.kind WHEN 1 THEN starts.at WHEN 2 THEN sent_at WHEN 3 THEN soft_at WHEN 4 THEN hard_at
                         ELSE replies.at END AS occurred_at
FROM journal
LEFT JOIN campaigns ON campaigns.id = journal.campaign
LEFT JOIN messages ON journal.kind IN (2, 3, 4) AND messages.key = journal.key
LEFT JOIN replies ON journal.kind = 5 AND replies.key = journal.key
LEFT JOIN starts ON journal.kind = 1 AND starts.key = journal.key
WHERE role = 1;

PRAGMA application_id = 0x4C545256; -- "LTRV"
PRAGMA user_version = 1;
COMMIT;
