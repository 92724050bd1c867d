-- Series by whole days, UTC.
BEGIN IMMEDIATE;

-- Sums of `series`, of its workspace (campaign 0) too: a month of quarters of an hour is three thousand rows a step.
CREATE TABLE days (
    campaign INTEGER NOT NULL,
    step INTEGER NOT NULL,
    quarter INTEGER NOT NULL, -- the first of the day
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
INSERT INTO days
SELECT campaign, step, quarter / 96 * 96, sum(sent), sum(attempted), sum(accepted), sum(bounced), sum(bounced_hard),
       sum(bounced_soft), sum(replies), sum(replied), sum(replied_human), sum(starts)
FROM series GROUP BY campaign, quarter / 96, step;

PRAGMA user_version = 5;
COMMIT;
