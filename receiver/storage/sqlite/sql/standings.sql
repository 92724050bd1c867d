-- How campaigns stand with Leadterra, for answers and metrics.

-- name: evaluated
-- Campaigns with drift, and the ledger as of their last snapshots now: totals less what came later.
SELECT campaigns.id AS id, campaign_id, drift.at AS at, drift.status AS status, figures, at_least, counts, at_first,
       snapshots.last_at AS fetched_at, counters,
       (SELECT min(sent + bounced + bounced_soft + replied + replied_human)
             + max(sent + bounced + bounced_soft + replied + replied_human)
        FROM baseline_ledgers WHERE baseline_ledgers.campaign = drift.campaign) AS at_first_now,
       totals.sent - coalesce(sum(minutes.sent), 0) AS sent,
       totals.bounced - coalesce(sum(minutes.bounced), 0) AS bounced,
       totals.bounced_soft - coalesce(sum(minutes.bounced_soft), 0) AS bounced_soft,
       totals.replied - coalesce(sum(minutes.replied), 0) AS replied,
       totals.replied_human - coalesce(sum(minutes.replied_human), 0) AS replied_human
FROM drift JOIN campaigns ON campaigns.id = drift.campaign
JOIN snapshots ON snapshots.campaign = drift.campaign AND snapshots.first_at = (
    SELECT max(first_at) FROM snapshots WHERE snapshots.campaign = drift.campaign)
LEFT JOIN totals ON totals.campaign = drift.campaign AND totals.step = -1
LEFT JOIN minutes ON minutes.campaign = drift.campaign AND minutes.minute > (drift.at + 60000) / 60000
WHERE drift.campaign IN (:campaigns...)
GROUP BY campaigns.id

-- name: ids
-- Campaigns with drift.
SELECT campaign FROM drift ORDER BY campaign

-- name: page
-- Campaigns that are known, in the order of their ids.
SELECT id, campaign_id FROM campaign_rows WHERE (:after IS NULL OR campaign_id > :after)
ORDER BY campaign_id LIMIT :limit

-- name: gaps
-- Gaps of some campaigns, open and closed.
SELECT gaps.campaign AS campaign, campaign_id, figure, from_at, to_at, at_least, cause, state
FROM gaps JOIN campaigns ON campaigns.id = gaps.campaign WHERE gaps.campaign IN (:campaigns...)

-- name: differing
-- How many campaigns differ.
SELECT count(*) FROM drift WHERE status IN ('missing', 'surplus', 'settling')

-- name: lost
-- Known losses by figure and by whether they can still arrive.
SELECT figure, state, sum(at_least) AS events FROM gaps
WHERE state NOT IN ('healed', 'superseded') GROUP BY figure, state
