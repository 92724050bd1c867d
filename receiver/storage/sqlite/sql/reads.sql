-- What analysts ask. Every figure comes from the totals, whatever the number of events.

-- name: campaign
-- One campaign.
SELECT *, NULL AS place FROM campaign_rows WHERE campaign_id = :campaign_id

-- name: campaigns_by_value
-- A page of campaigns, sorted by a figure, a rate or a time; nulls last, ties by campaign id.
-- While older messages are not held, rates are made of what is held, or null.
-- The starts of campaigns are looked up for the page alone, not for every campaign that is sorted.
SELECT campaign_rows.*, page.place AS place FROM (
SELECT id, place FROM (
    SELECT *, CASE WHEN :descending THEN -value ELSE value END AS place FROM (
        SELECT *, sent AS value FROM (
            SELECT id, campaign_id, name, status, first_event_at, last_event_at, sent, attempted, accepted, bounced,
                   bounced_hard, bounced_soft, replies, replied, replied_human, starts,
                   CASE WHEN sent_before > 0 THEN NULL ELSE contacted END AS contacted,
                   CASE WHEN sent_before > 0 THEN CASE WHEN sent > 0 THEN (sent - accepted) * 1.0 / sent END
                        WHEN attempted > 0 THEN bounced * 1.0 / attempted END AS bounce_rate,
                   CASE WHEN sent_before > 0 THEN CASE WHEN sent > 0 THEN (bounced_hard - (
                            SELECT count(*) FROM messages WHERE messages.campaign = campaign_rows.id
                            AND sent_at IS NULL AND hard_at IS NOT NULL)) * 1.0 / sent END
                        WHEN attempted > 0 THEN bounced_hard * 1.0 / attempted END AS hard_bounce_rate,
                   CASE WHEN sent_before > 0 THEN NULL
                        WHEN accepted > 0 THEN replied * 1.0 / accepted END AS reply_rate,
                   CASE WHEN sent_before > 0 THEN NULL
                        WHEN contacted > 0 THEN replied * 1.0 / contacted END AS lead_reply_rate,
                   CASE WHEN sent_before > 0 THEN NULL
                        WHEN contacted > 0 THEN replied_human * 1.0 / contacted END AS human_reply_rate
            FROM campaign_rows
        )
    )
)
WHERE (:status IS NULL OR :status = status)
  AND (:activity IS NULL OR :activity = CASE WHEN last_event_at >= :active_since THEN 'active' ELSE 'quiet' END)
  AND (:q IS NULL OR instr(lower(campaign_id), lower(:q)) OR instr(lower(coalesce(name, '')), lower(:q)))
  AND (:min_sent IS NULL OR sent >= :min_sent)
  AND (:active_from IS NULL OR last_event_at >= :active_from)
  AND (:active_to IS NULL OR first_event_at < :active_to)
  AND (:after_id IS NULL
       OR (place IS NULL) > (:after_place IS NULL)
       OR ((place IS NULL) = (:after_place IS NULL)
           AND (place > :after_place OR (place IS :after_place AND campaign_id > :after_id))))
ORDER BY place NULLS LAST, campaign_id
LIMIT :limit
) AS page JOIN campaign_rows ON campaign_rows.id = page.id
ORDER BY page.place NULLS LAST, campaign_rows.campaign_id

-- name: campaigns_by_id
-- A page of campaigns, sorted by campaign id.
SELECT *, NULL AS place FROM campaign_rows
WHERE (:status IS NULL OR :status = status)
  AND (:activity IS NULL OR :activity = CASE WHEN last_event_at >= :active_since THEN 'active' ELSE 'quiet' END)
  AND (:q IS NULL OR instr(lower(campaign_id), lower(:q)) OR instr(lower(coalesce(name, '')), lower(:q)))
  AND (:min_sent IS NULL OR sent >= :min_sent)
  AND (:active_from IS NULL OR last_event_at >= :active_from)
  AND (:active_to IS NULL OR first_event_at < :active_to)
  AND (:after_id IS NULL OR CASE WHEN :descending THEN campaign_id < :after_id ELSE campaign_id > :after_id END)
ORDER BY CASE WHEN :descending THEN campaign_id END DESC, campaign_id
LIMIT :limit

-- name: steps
-- A campaign's steps; the step that is not known comes last, and only when something counts in it.
SELECT step, sent, attempted, accepted, bounced, bounced_hard, bounced_soft, replies, replied, replied_human
FROM totals
WHERE campaign = :campaign AND step >= 0
  AND (step < 2147483648 OR sent OR attempted OR accepted OR bounced OR bounced_hard OR bounced_soft OR replies
       OR replied OR replied_human)
  AND (sent OR attempted OR bounced OR replies OR replied)
ORDER BY step

-- name: hard_without_send
-- A campaign's hard bounces by step whose send is not held.
SELECT step, count(*) AS bounced_hard FROM messages
WHERE campaign = :campaign AND sent_at IS NULL AND hard_at IS NOT NULL GROUP BY step

-- name: events
-- A page of events, newest first.
SELECT * FROM event_rows
WHERE (:before IS NULL OR seq < :before) AND received_at >= :received_from
  AND (:first_kind IS NULL OR kind BETWEEN :first_kind AND :last_kind)
  AND (:from IS NULL OR occurred_at >= :from) AND (:to IS NULL OR occurred_at < :to)
ORDER BY seq DESC LIMIT :limit

-- name: events_of_campaign
-- A page of one campaign's events, newest first.
SELECT * FROM event_rows
WHERE campaign = :campaign AND (:before IS NULL OR seq < :before) AND received_at >= :received_from
  AND (:first_kind IS NULL OR kind BETWEEN :first_kind AND :last_kind)
  AND (:from IS NULL OR occurred_at >= :from) AND (:to IS NULL OR occurred_at < :to)
ORDER BY seq DESC LIMIT :limit

-- name: events_of_message
-- Everything that happened to one message, newest first.
SELECT * FROM event_rows
WHERE seq IN (SELECT sent_seq FROM messages WHERE key = :key
              UNION SELECT soft_seq FROM messages WHERE key = :key
              UNION SELECT hard_seq FROM messages WHERE key = :key
              UNION SELECT replies.seq FROM replies WHERE message = :key)
  AND (:campaign IS NULL OR campaign = :campaign) AND (:before IS NULL OR seq < :before)
  AND (:first_kind IS NULL OR kind BETWEEN :first_kind AND :last_kind)
  AND (:from IS NULL OR occurred_at >= :from) AND (:to IS NULL OR occurred_at < :to)
ORDER BY seq DESC LIMIT :limit

-- name: ping
-- Whether the schema can be read.
SELECT count(*) FROM meta
