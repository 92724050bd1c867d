-- Measures spans that may be too wide, on a reading connection: it scans the ledger.

-- name: any_wide
-- Whether there is anything to measure; asked often, and found by an index.
SELECT EXISTS (SELECT 1 FROM campaigns WHERE span_removals > 0)

-- name: wide
-- Campaigns whose span may be too wide.
SELECT id, span_removals, first_event_at, last_event_at FROM campaigns WHERE span_removals > 0

-- name: measure
-- The earliest and latest event of each of them.
SELECT campaign, min(first) AS first, max(last) AS last FROM (
    SELECT campaign,
           min(min(coalesce(sent_at, 9223372036854775807), coalesce(soft_at, 9223372036854775807),
                   coalesce(hard_at, 9223372036854775807))) AS first,
           max(max(coalesce(sent_at, 0), coalesce(soft_at, 0), coalesce(hard_at, 0))) AS last
    FROM messages WHERE campaign IN (SELECT id FROM campaigns WHERE span_removals > 0) GROUP BY campaign
    UNION ALL
    SELECT campaign, min(at), max(at)
    FROM replies WHERE campaign IN (SELECT id FROM campaigns WHERE span_removals > 0) GROUP BY campaign
    UNION ALL
    SELECT campaign, min(at), max(at)
    FROM starts WHERE campaign IN (SELECT id FROM campaigns WHERE span_removals > 0) GROUP BY campaign
)
GROUP BY campaign
