-- Figures booked at the send, bounces by reason and domain, and the whole workspace over time.
BEGIN IMMEDIATE;

-- The send of the message that a reply answers, as booked.
ALTER TABLE replies ADD COLUMN message_sent_at INTEGER;
UPDATE replies SET message_sent_at = (SELECT messages.sent_at FROM messages WHERE messages.key = replies.message)
WHERE message IS NOT NULL;
-- Replies of which nobody can say what they answer.
CREATE INDEX replies_without_message ON replies (campaign) WHERE message IS NULL;

-- Of `bounced` and `bounced_hard`: messages whose send is not held.
ALTER TABLE totals ADD COLUMN bounced_unsent INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN bounced_hard_unsent INTEGER NOT NULL DEFAULT 0;

-- What is added to `series` to book every figure at the send. Most messages never bounce: they need no row.
-- Here as in `series` campaign 0 is the whole workspace; quarter 2147483648 is for replies whose send is not held.
CREATE TABLE shifts (
    campaign INTEGER NOT NULL,
    step INTEGER NOT NULL,
    quarter INTEGER NOT NULL,
    attempted INTEGER NOT NULL,
    accepted INTEGER NOT NULL,
    bounced INTEGER NOT NULL,
    bounced_hard INTEGER NOT NULL,
    bounced_soft INTEGER NOT NULL,
    replies INTEGER NOT NULL,
    replied INTEGER NOT NULL,
    replied_human INTEGER NOT NULL,
    bounced_unsent INTEGER NOT NULL, -- in full, not as a difference: `series` has no such figure
    bounced_hard_unsent INTEGER NOT NULL,
    PRIMARY KEY (campaign, quarter, step)
) STRICT, WITHOUT ROWID;

-- Bounces where `series` books them. `bounced` is the sum of both: in every quarter of an hour.
CREATE TABLE bounces (
    campaign INTEGER NOT NULL,
    step INTEGER NOT NULL,
    quarter INTEGER NOT NULL,
    reason TEXT NOT NULL, -- its class; '' stands for "not known", here and in domain
    domain TEXT NOT NULL,
    bounced_hard INTEGER NOT NULL,
    bounced_soft INTEGER NOT NULL,
    PRIMARY KEY (campaign, quarter, step, reason, domain)
) STRICT, WITHOUT ROWID;

-- A ledger that is older than these tables is counted when it is opened.
INSERT INTO meta (name, value) SELECT 'figures_behind', 1 WHERE EXISTS (SELECT 1 FROM campaigns);

PRAGMA user_version = 3;
COMMIT;
