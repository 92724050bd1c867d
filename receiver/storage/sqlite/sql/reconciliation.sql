-- What reconciliation reads and writes: inside the writer's transactions, and on reading connections.

-- name: totals
-- The figures that Leadterra has counters for.
SELECT sent, bounced, bounced_soft, replied, replied_human FROM totals WHERE campaign = :campaign AND step = -1

-- name: minutes
-- A campaign's recent minutes, in order.
SELECT minute, sent, bounced, bounced_soft, replied, replied_human FROM minutes
WHERE campaign = :campaign AND minute >= :since ORDER BY minute

-- name: quarters
-- A campaign's quarters of an hour, in order.
SELECT quarter, sum(sent), sum(bounced), sum(bounced_soft), sum(replied), sum(replied_human) FROM series
WHERE campaign = :campaign AND quarter >= :since GROUP BY quarter ORDER BY quarter

-- name: sub_minute_messages
-- The newest messages of a campaign.
SELECT sent_at, soft_at, hard_at FROM messages WHERE campaign = :campaign AND key IN (
    SELECT key FROM journal WHERE campaign = :campaign AND role = 1 ORDER BY seq DESC LIMIT :limit)

-- name: sub_minute_leads
-- The newest leads of a campaign.
SELECT DISTINCT lead FROM replies WHERE campaign = :campaign AND lead IS NOT NULL AND key IN (
    SELECT key FROM journal WHERE campaign = :campaign AND role = 1 ORDER BY seq DESC LIMIT :limit)

-- name: insert_campaign
-- A campaign that no event has named yet.
INSERT INTO campaigns (campaign_id) VALUES (:campaign_id) ON CONFLICT DO NOTHING

-- name: add_poll
-- A campaign that somebody added.
INSERT INTO polls (campaign, added_at) VALUES (:campaign, :now)
ON CONFLICT (campaign) DO UPDATE SET added_at = coalesce(added_at, excluded.added_at)

-- name: set_name
-- A name given by hand; one that an event gives later wins.
UPDATE campaigns SET name = :name WHERE id = :campaign AND name_at IS NULL

-- name: known
-- All campaigns, with what decides when they are asked. One without events has no last event.
SELECT campaigns.id AS id, campaign_id, last_event_at, first_event_at IS NOT NULL AS seen, added_at, asked_at,
       answered_at, moved_at, wait_ms, gone_at, failure, at AS baseline_at,
       campaigns.id IN (SELECT campaign FROM gaps WHERE state NOT IN ('healed', 'superseded')) AS has_gap,
       (SELECT max(json_extract(counters, '$.queued')) FROM snapshots
        WHERE snapshots.campaign = campaigns.id AND snapshots.first_at =
              (SELECT max(first_at) FROM snapshots WHERE snapshots.campaign = campaigns.id)) AS queued
FROM campaigns LEFT JOIN polls ON polls.campaign = campaigns.id
LEFT JOIN baselines ON baselines.campaign = campaigns.id

-- name: last_received
-- When anything was taken in last.
SELECT received_at FROM journal WHERE origin = 0 ORDER BY seq DESC LIMIT 1

-- name: never_asked
-- Campaigns that have an event and were never asked.
SELECT campaign_id FROM campaigns LEFT JOIN polls ON polls.campaign = campaigns.id
WHERE asked_at IS NULL AND first_event_at IS NOT NULL

-- name: note_attempt
-- A campaign was asked. One that is gone stays so until an answer comes.
INSERT INTO polls (campaign, asked_at, answered_at, moved_at, gone_at, failure)
VALUES (:campaign, :now, :answered_at, :moved_at, :gone_at, :failure)
ON CONFLICT (campaign) DO UPDATE SET
    asked_at = excluded.asked_at, answered_at = coalesce(excluded.answered_at, answered_at),
    moved_at = coalesce(excluded.moved_at, moved_at), failure = excluded.failure,
    gone_at = CASE WHEN excluded.failure IS NOT NULL THEN coalesce(excluded.gone_at, gone_at) END

-- name: baseline
-- A campaign's first snapshot.
SELECT at, counters FROM baselines WHERE campaign = :campaign

-- name: baseline_ledgers
-- The ledger as of it, at the earliest and at the latest.
SELECT sent, bounced, bounced_soft, replied, replied_human FROM baseline_ledgers
WHERE campaign = :campaign ORDER BY at

-- name: forget_baseline
-- A first snapshot that is to be taken anew, with all that was built on it.
DELETE FROM baselines WHERE campaign = :campaign

-- name: forget_baseline_ledgers
-- The same, of the ledger as of it.
DELETE FROM baseline_ledgers WHERE campaign = :campaign

-- name: forget_losses
-- The same, of what followed from it.
DELETE FROM losses WHERE campaign = :campaign

-- name: forget_all_snapshots
-- The same, of the snapshots themselves.
DELETE FROM snapshots WHERE campaign = :campaign

-- name: insert_baseline
-- A campaign's first snapshot.
INSERT INTO baselines (campaign, at, counters) VALUES (:campaign, :at, :counters)

-- name: insert_baseline_ledger
-- The ledger as of a moment.
INSERT INTO baseline_ledgers (campaign, at, sent, bounced, bounced_soft, replied, replied_human)
VALUES (:campaign, :at, :sent, :bounced, :bounced_soft, :replied, :replied_human) ON CONFLICT DO NOTHING

-- name: baseline_times
-- The moments as of which the ledger is kept.
SELECT campaign, at FROM baseline_ledgers ORDER BY campaign, at

-- name: snapshots
-- A campaign's snapshots, in order.
SELECT first_at, last_at, counters FROM snapshots WHERE campaign = :campaign ORDER BY first_at

-- name: forget_snapshots
-- Folded snapshots go, but for the last.
DELETE FROM snapshots WHERE campaign = :campaign AND last_at <= :upto AND first_at < (
    SELECT max(first_at) FROM snapshots WHERE campaign = :campaign)

-- name: losses
-- What folded snapshots proved.
SELECT figure, upto, quiet_at, gaps, quiet_counters, quiet_counts FROM losses WHERE campaign = :campaign

-- name: put_losses
-- What folded snapshots proved, of one figure.
INSERT INTO losses (campaign, figure, upto, quiet_at, gaps, quiet_counters, quiet_counts)
VALUES (:campaign, :figure, :upto, :quiet_at, :gaps, :quiet_counters, :quiet_counts)
ON CONFLICT (campaign, figure) DO UPDATE SET upto = excluded.upto, quiet_at = excluded.quiet_at, gaps = excluded.gaps,
    quiet_counters = excluded.quiet_counters, quiet_counts = excluded.quiet_counts

-- name: quarantined
-- Arrivals of bodies that name this campaign and are not counted.
SELECT event, received_at FROM quarantine
WHERE campaign_id = :campaign_id AND received_at > :since AND resolved_at IS NULL AND campaign_id IS NOT NULL
      AND reason NOT IN ('conflict', 'campaign_unknown')
ORDER BY received_at LIMIT 10000

-- name: quarantined_unattributed
-- Arrivals of bodies that may be events of any campaign.
SELECT count(*) FROM quarantine
WHERE resolved_at IS NULL AND campaign_id IS NULL AND reason NOT IN ('conflict', 'campaign_unknown')

-- name: open_gaps
-- A campaign's gaps that are not closed.
SELECT figure, to_at, cause, from_at, at_least, state FROM gaps
WHERE campaign = :campaign AND state NOT IN ('healed', 'superseded')

-- name: delete_open_gaps
-- They are written anew.
DELETE FROM gaps WHERE campaign = :campaign AND state NOT IN ('healed', 'superseded')

-- name: put_gap
-- A gap, or the share of one that has a cause of its own.
INSERT INTO gaps (campaign, figure, to_at, cause, from_at, at_least, state)
VALUES (:campaign, :figure, :to_at, :cause, :from_at, :at_least, :state)
ON CONFLICT (campaign, figure, to_at, cause) DO UPDATE SET from_at = excluded.from_at,
    at_least = excluded.at_least, state = excluded.state

-- name: forget_gaps
-- Closed gaps that are old.
DELETE FROM gaps WHERE state IN ('healed', 'superseded') AND to_at < :before

-- name: accepting
-- Stretches of acceptance that end after a time, the present one last, whatever the clock was when each began.
SELECT started_at, last_at, stopped FROM accepting WHERE last_at > :since ORDER BY id

-- name: refusing
-- Runs of refusals that end after a time.
SELECT started_at, last_at, refusals FROM refusing WHERE last_at > :since ORDER BY started_at

-- name: oldest_open_gap
-- How far back it matters when we did not accept.
SELECT min(from_at) FROM gaps WHERE state NOT IN ('healed', 'superseded')

-- name: evidence
-- The latest intervals that tell what a counter means, oldest first.
SELECT campaign, fits FROM (
    SELECT id, campaign, fits FROM evidence WHERE figure = :figure ORDER BY id DESC LIMIT :kept
) ORDER BY id

-- name: insert_evidence
-- One more interval.
INSERT INTO evidence (figure, campaign, from_at, to_at, fits)
VALUES (:figure, :campaign, :from_at, :to_at, :fits)

-- name: forget_evidence
-- Only the latest intervals count.
DELETE FROM evidence WHERE figure = :figure AND id <= (
    SELECT id FROM evidence WHERE figure = :figure ORDER BY id DESC LIMIT 1 OFFSET :kept)

-- name: insert_run
-- A run begins.
INSERT INTO runs (trigger, status, started_at) VALUES (:trigger, 'running', :now) RETURNING id

-- name: end_run
-- A run is over.
UPDATE runs SET status = :status, ended_at = :now, campaigns = :campaigns, done = :done,
                failed = :failed, differing = :differing, errors = :errors WHERE id = :id

-- name: abort_runs
-- Runs that a killed process left open.
UPDATE runs SET status = 'aborted', ended_at = :now WHERE status = 'running'

-- name: run
-- One run.
SELECT * FROM runs WHERE id = :id

-- name: runs
-- A page of runs, newest first.
SELECT * FROM runs WHERE (:before IS NULL OR id < :before) ORDER BY id DESC LIMIT :limit

-- name: forget_runs
-- Old runs go; the newest ten thousand stay.
DELETE FROM runs WHERE id <= (SELECT max(id) FROM runs) - 10000 AND status <> 'running'

-- name: alarms
-- All alarms that are not over.
SELECT code, subject, campaign_id, since, deadline, detail, clean_runs FROM alarms ORDER BY since, code, subject

-- name: alarming_gaps
-- Gaps that somebody should be told of, with the time of their campaign's last snapshot.
SELECT campaign_id, figure, from_at, to_at, gaps.at_least AS at_least, state, drift.at AS now
FROM gaps JOIN campaigns ON campaigns.id = gaps.campaign JOIN drift ON drift.campaign = gaps.campaign
WHERE state NOT IN ('healed', 'superseded') AND state IN ('overdue', 'missing')

-- name: last_scheduled
-- When the schedule last began a run.
SELECT started_at FROM runs WHERE trigger = 'schedule' ORDER BY id DESC LIMIT 1

-- name: put_alarm
-- An alarm, new or still there.
INSERT INTO alarms (code, subject, campaign_id, since, deadline, detail, clean_runs)
VALUES (:code, :subject, :campaign_id, :since, :deadline, :detail, :clean_runs)
ON CONFLICT (code, subject) DO UPDATE SET since = excluded.since, deadline = excluded.deadline, detail = excluded.detail,
    clean_runs = excluded.clean_runs

-- name: delete_alarm
-- An alarm that is over.
DELETE FROM alarms WHERE code = :code AND subject = :subject

-- name: unattributed_bounces
-- Bounces whose campaign nobody has told within the time in which it could have come.
SELECT count(*) FROM messages WHERE campaign IS NULL AND max(coalesce(soft_at, 0), coalesce(hard_at, 0)) < :before
