-- What is known about how far figures can be trusted. An absent list of campaigns stands for all.

-- name: open_gaps
-- Gaps that are not closed.
SELECT campaign, figure, from_at, to_at, at_least, state FROM gaps
WHERE state NOT IN ('healed', 'superseded')
  AND (:campaigns IS NULL OR campaign IN (SELECT value FROM json_each(:campaigns)))

-- name: first_snapshots
-- When each campaign's counters were first asked.
SELECT campaign, at FROM baselines
WHERE :campaigns IS NULL OR campaign IN (SELECT value FROM json_each(:campaigns))

-- name: with_earlier_sends
-- Campaigns that sent before we were there to hear of it.
SELECT campaign FROM drift
WHERE json_extract(figures, '$.sent.before_receiver') > 0
  AND (:campaigns IS NULL OR campaign IN (SELECT value FROM json_each(:campaigns)))

-- name: known_campaigns
-- Of these ids those that campaigns are shown under.
SELECT id, campaign_id FROM campaign_rows WHERE campaign_id IN (SELECT value FROM json_each(:campaign_ids))

-- name: campaigns_with_life
-- Campaigns whose events reach into a half-open range.
SELECT id, campaign_id FROM campaigns
WHERE last_event_at >= :from AND first_event_at < :to
ORDER BY campaign_id

-- name: campaigns_with_unplaced
-- Campaigns with replies whose send is not held.
SELECT id, campaign_id FROM campaigns
WHERE EXISTS (SELECT 1 FROM shifts WHERE campaign = campaigns.id AND quarter = 2147483648
              AND (replies <> 0 OR replied <> 0 OR replied_human <> 0))

-- name: steps_of
-- The known steps in which something counts.
SELECT DISTINCT step FROM totals
WHERE step >= 0 AND step < 2147483648 AND (sent OR attempted OR bounced OR replies OR replied)
  AND (:campaigns IS NULL OR campaign IN (SELECT value FROM json_each(:campaigns)))
ORDER BY step
