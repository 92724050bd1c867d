-- Figures over time, from the rollups. Quarters of an hour are half-open: first <= quarter < last.

-- name: all_campaigns
-- The numbers of all campaigns.
SELECT id FROM campaigns ORDER BY id

-- name: series
-- Sums of some campaigns, or of the workspace (0).
SELECT NULL, sum(sent), sum(attempted), sum(accepted), sum(bounced), sum(bounced_hard), sum(bounced_soft),
       sum(replies), sum(replied), sum(replied_human), sum(starts)
FROM series
WHERE campaign IN (SELECT value FROM json_each(:campaigns)) AND quarter >= :first AND quarter < :last

-- name: series_by_campaign
-- The same, campaign by campaign.
SELECT campaign, sum(sent), sum(attempted), sum(accepted), sum(bounced), sum(bounced_hard), sum(bounced_soft),
       sum(replies), sum(replied), sum(replied_human), sum(starts)
FROM series
WHERE campaign IN (SELECT value FROM json_each(:campaigns)) AND quarter >= :first AND quarter < :last
GROUP BY campaign

-- name: series_by_step
-- The same, step by step.
SELECT step, sum(sent), sum(attempted), sum(accepted), sum(bounced), sum(bounced_hard), sum(bounced_soft),
       sum(replies), sum(replied), sum(replied_human), sum(starts)
FROM series
WHERE campaign IN (SELECT value FROM json_each(:campaigns)) AND quarter >= :first AND quarter < :last
GROUP BY step

-- name: shifts
-- What is added to book at the send, of some campaigns or of the workspace (0).
SELECT NULL, sum(attempted), sum(accepted), sum(bounced), sum(bounced_hard), sum(bounced_soft), sum(replies),
       sum(replied), sum(replied_human), sum(bounced_unsent), sum(bounced_hard_unsent)
FROM shifts
WHERE campaign IN (SELECT value FROM json_each(:campaigns)) AND quarter >= :first AND quarter < :last

-- name: shifts_by_campaign
-- The same, campaign by campaign.
SELECT campaign, sum(attempted), sum(accepted), sum(bounced), sum(bounced_hard), sum(bounced_soft), sum(replies),
       sum(replied), sum(replied_human), sum(bounced_unsent), sum(bounced_hard_unsent)
FROM shifts
WHERE campaign IN (SELECT value FROM json_each(:campaigns)) AND quarter >= :first AND quarter < :last
GROUP BY campaign

-- name: shifts_by_step
-- The same, step by step.
SELECT step, sum(attempted), sum(accepted), sum(bounced), sum(bounced_hard), sum(bounced_soft), sum(replies),
       sum(replied), sum(replied_human), sum(bounced_unsent), sum(bounced_hard_unsent)
FROM shifts
WHERE campaign IN (SELECT value FROM json_each(:campaigns)) AND quarter >= :first AND quarter < :last
GROUP BY step

-- name: lowest_steps
-- The lowest step with a send of each of these campaigns, over its whole life.
SELECT value, (SELECT min(step) FROM totals WHERE campaign = value AND step >= 0 AND sent > 0) AS step
FROM json_each(:campaigns) WHERE step IS NOT NULL

-- name: lowest_steps_of_all
-- For all campaigns together: the workspace's own sends (0) in the step that most begin with, and the others' difference.
WITH lowest AS MATERIALIZED (
    SELECT campaign, min(step) AS step FROM totals WHERE step >= 0 AND sent > 0 GROUP BY campaign
), usual AS MATERIALIZED (
    SELECT step FROM lowest GROUP BY step ORDER BY count(*) DESC, step LIMIT 1
)
SELECT 0, step, 1 FROM usual
UNION ALL
SELECT campaign, lowest.step, 1 FROM lowest, usual WHERE lowest.step <> usual.step
UNION ALL
SELECT campaign, usual.step, -1 FROM lowest, usual WHERE lowest.step <> usual.step

-- name: contacted
-- Sends in given steps of given campaigns: a list of campaign, step and sign.
WITH part AS MATERIALIZED (
    SELECT json_extract(value, '$[0]') AS campaign, json_extract(value, '$[1]') AS step,
           json_extract(value, '$[2]') AS sign
    FROM json_each(:parts)
)
SELECT CASE :group WHEN 'campaign' THEN part.campaign WHEN 'step' THEN part.step END, sum(sent * sign)
FROM part
CROSS JOIN series
WHERE series.campaign = part.campaign AND quarter >= :first AND quarter < :last AND series.step = part.step
GROUP BY 1

-- name: bounces_by_type
-- Hard and soft bounces, in one row.
SELECT sum(bounced_hard), sum(bounced_soft)
FROM series
WHERE campaign IN (SELECT value FROM json_each(:campaigns)) AND quarter >= :first AND quarter < :last

-- name: bounces_by_reason
-- Bounces by the class of their reason, most first; what is not known comes last.
SELECT nullif(reason, ''), sum(bounced_hard), sum(bounced_soft)
FROM bounces
WHERE campaign IN (SELECT value FROM json_each(:campaigns)) AND quarter >= :first AND quarter < :last
GROUP BY reason
HAVING sum(bounced_hard) OR sum(bounced_soft)
ORDER BY sum(bounced_hard) + sum(bounced_soft) DESC, sum(bounced_hard) DESC, reason = '', reason

-- name: bounces_by_domain
-- Bounces by the recipient's domain, most first; what is not known comes last.
SELECT nullif(domain, ''), sum(bounced_hard), sum(bounced_soft)
FROM bounces
WHERE campaign IN (SELECT value FROM json_each(:campaigns)) AND quarter >= :first AND quarter < :last
GROUP BY domain
HAVING sum(bounced_hard) OR sum(bounced_soft)
ORDER BY sum(bounced_hard) + sum(bounced_soft) DESC, sum(bounced_hard) DESC, domain = '', domain

-- name: bounces_by_step
-- Bounces by step, most first; what is not known comes last.
SELECT step, sum(bounced_hard), sum(bounced_soft)
FROM series
WHERE campaign IN (SELECT value FROM json_each(:campaigns)) AND quarter >= :first AND quarter < :last
GROUP BY step
HAVING sum(bounced_hard) OR sum(bounced_soft)
ORDER BY sum(bounced_hard) + sum(bounced_soft) DESC, sum(bounced_hard) DESC, step

-- name: replies_by_class
-- Replies and leads by class: a lead counts in the class of its first reply.
SELECT class, sum(origin = 0), sum(is_first) FROM (
    SELECT class, origin, at, lead IS NOT NULL AND row_number() OVER (
        PARTITION BY campaign, lead
        ORDER BY at, step, message_sent_at IS NULL, message_sent_at, class IS NULL, class) = 1 AS is_first
    FROM replies WHERE campaign IN (SELECT value FROM json_each(:campaigns)) AND at < :to
)
WHERE at >= :from GROUP BY class

-- name: replies_by_class_everywhere
-- The same of all campaigns.
SELECT class, sum(origin = 0), sum(is_first) FROM (
    SELECT class, origin, at, lead IS NOT NULL AND row_number() OVER (
        PARTITION BY campaign, lead
        ORDER BY at, step, message_sent_at IS NULL, message_sent_at, class IS NULL, class) = 1 AS is_first
    FROM replies WHERE campaign IS NOT NULL AND at < :to
)
WHERE at >= :from GROUP BY class

-- name: with_replies_to_nothing
-- Which of these campaigns have a reply that names no message.
SELECT value FROM json_each(:campaigns)
WHERE EXISTS (SELECT 1 FROM replies WHERE replies.campaign = value AND message IS NULL)
