-- Messages in fewer bytes: a number for the recipient's domain, and the first arrival as a difference.
BEGIN IMMEDIATE;

-- Domains of recipients; the figures by domain hold its text.
CREATE TABLE domains (
    id INTEGER PRIMARY KEY,
    domain TEXT NOT NULL UNIQUE
) STRICT;
INSERT INTO domains (domain) SELECT DISTINCT domain FROM messages WHERE domain IS NOT NULL;

-- One row per messageId; a row without campaign waits for its send. Figures are counted from the first columns.
CREATE TABLE narrow_messages (
    key BLOB PRIMARY KEY,
    campaign INTEGER,
    step INTEGER NOT NULL, -- 2147483648 stands for "not known"
    sent_at INTEGER,
    soft_at INTEGER,
    hard_at INTEGER,
    received_after INTEGER NOT NULL, -- first arrival less the earliest of the three times, below 0 too: clocks differ
    sent_seq INTEGER, -- journal row of the first delivery
    domain INTEGER,
    soft_seq INTEGER,
    hard_seq INTEGER,
    soft_reason TEXT,
    hard_reason TEXT
) STRICT, WITHOUT ROWID;
INSERT INTO narrow_messages
SELECT key, campaign, step, sent_at, soft_at, hard_at,
       first_received_at - min(coalesce(sent_at, soft_at, hard_at, 0), coalesce(soft_at, hard_at, sent_at, 0),
                               coalesce(hard_at, sent_at, soft_at, 0)),
       sent_seq, domains.id, soft_seq, hard_seq, soft_reason, hard_reason
FROM messages LEFT JOIN domains ON domains.domain = messages.domain ORDER BY key;

DROP VIEW event_rows; -- it names the table
DROP TABLE messages;
ALTER TABLE narrow_messages RENAME TO messages;
CREATE INDEX messages_without_campaign ON messages (key) WHERE campaign IS NULL;
-- Messages bounced before their send, or whose send was never seen.
CREATE INDEX messages_without_send ON messages (campaign) WHERE sent_at IS NULL;

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

PRAGMA user_version = 6;
COMMIT;
