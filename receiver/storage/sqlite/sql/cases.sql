-- What is known of many campaigns at once, and what follows from many answers.

-- name: baseline_times_of
-- The moments as of which the ledger of some campaigns is kept.
SELECT campaign, at FROM baseline_ledgers WHERE campaign IN (:campaigns...) ORDER BY campaign, at

-- name: watch_new_baselines
-- Whatever adds such a moment tells so.
CREATE TEMP TRIGGER IF NOT EXISTS new_baselines AFTER INSERT ON baseline_ledgers
BEGIN SELECT note_baseline(NEW.campaign); END

-- name: watch_old_baselines
-- Whatever takes one away does too.
CREATE TEMP TRIGGER IF NOT EXISTS old_baselines AFTER DELETE ON baseline_ledgers
BEGIN SELECT note_baseline(OLD.campaign); END

-- name: numbers
-- Campaigns by their ids.
SELECT campaign_id, id FROM campaigns WHERE campaign_id IN (:ids...)

-- name: baselines
-- Their first snapshots.
SELECT campaign, at, counters FROM baselines WHERE campaign IN (:campaigns...)

-- name: baseline_ledgers
-- The ledger as of them, at the earliest and at the latest.
SELECT campaign, sent, bounced, bounced_soft, replied, replied_human FROM baseline_ledgers
WHERE campaign IN (:campaigns...) ORDER BY campaign, at

-- name: snapshots
-- Their snapshots, in order.
SELECT campaign, first_at, last_at, counters FROM snapshots WHERE campaign IN (:campaigns...)
ORDER BY campaign, first_at

-- name: losses
-- What folded snapshots proved.
SELECT campaign, figure, upto, quiet_at, gaps FROM losses WHERE campaign IN (:campaigns...)

-- name: totals
-- The figures that Leadterra has counters for.
SELECT campaign, sent, bounced, bounced_soft, replied, replied_human FROM totals
WHERE campaign IN (:campaigns...) AND step = -1

-- name: minutes
-- Their recent minutes, in order.
SELECT campaign, minute, sent, bounced, bounced_soft, replied, replied_human FROM minutes
WHERE minute >= ? AND campaign IN (:campaigns...) ORDER BY campaign, minute

-- name: open_gaps
-- Gaps that are not closed.
SELECT campaign, figure, to_at, cause, from_at, at_least, state FROM gaps
WHERE campaign IN (:campaigns...) AND state NOT IN ('healed', 'superseded')

-- name: waiting
-- Those of which anything waits in quarantine.
SELECT id FROM campaigns WHERE id IN (:campaigns...) AND EXISTS (
    SELECT 1 FROM quarantine WHERE quarantine.campaign_id = campaigns.campaign_id
    AND quarantine.campaign_id IS NOT NULL AND resolved_at IS NULL)

-- name: put_snapshots
-- Answers unlike the ones before, and the same ones once more.
INSERT INTO snapshots (campaign, first_at, last_at, counters) VALUES (?, ?, ?, ?)
ON CONFLICT (campaign, first_at) DO UPDATE SET last_at = excluded.last_at

-- name: note_answers
-- Campaigns answered.
INSERT INTO polls (campaign, asked_at, answered_at, moved_at) VALUES (?, ?, ?, ?)
ON CONFLICT (campaign) DO UPDATE SET asked_at = excluded.asked_at, answered_at = excluded.answered_at,
    moved_at = coalesce(excluded.moved_at, moved_at), failure = NULL, gone_at = NULL

-- name: put_drifts
-- Drift as of the last snapshots.
INSERT INTO drift (campaign, at, status, at_least, sent_before, at_first, counts, figures)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (campaign) DO UPDATE SET at = excluded.at, status = excluded.status, at_least = excluded.at_least,
    sent_before = excluded.sent_before, at_first = excluded.at_first, counts = excluded.counts,
    figures = excluded.figures

-- name: set_wait
-- How long until campaigns are asked again.
UPDATE polls SET wait_ms = ? WHERE campaign = ?
