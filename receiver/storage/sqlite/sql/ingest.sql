-- Everything that one batch reads and writes. Rows go in by position, thousands a second: named
-- parameters would cost a dictionary each. The order is that of the tables' columns.

-- name: load_messages
-- The ledger's rows of these messages.
SELECT key, campaign, step, sent_at, soft_at, hard_at, received_after, sent_seq, domains.domain, soft_seq, hard_seq,
       soft_reason, hard_reason
FROM messages LEFT JOIN domains ON domains.id = messages.domain WHERE key IN (:keys...)

-- name: load_replies
-- The ledger's rows of these replies.
SELECT key, campaign, step, at, origin, first_received_at, seq, message, best_campaign, best_lead,
       best_class, other_campaign, other_step, other_lead, other_class, message_sent_at
FROM replies WHERE key IN (:keys...)

-- name: load_replies_to
-- The replies that answer these messages.
SELECT key, campaign, step, at, origin, first_received_at, seq, message, best_campaign, best_lead,
       best_class, other_campaign, other_step, other_lead, other_class, message_sent_at
FROM replies WHERE message IN (:keys...)

-- name: load_starts
-- Which of these starts are known, and their journal rows.
SELECT key, seq FROM starts WHERE key IN (:keys...)

-- name: load_campaign
-- A campaign's number, by the id that Leadterra gave it.
SELECT id FROM campaigns WHERE campaign_id = ?

-- name: load_campaign_id
-- A campaign's Leadterra id, by its number.
SELECT campaign_id FROM campaigns WHERE id = ?

-- name: insert_campaign
-- A campaign seen for the first time.
INSERT INTO campaigns (campaign_id) VALUES (?) RETURNING id

-- name: load_domains
-- The numbers of these domains.
SELECT domain, id FROM domains WHERE domain IN (:domains...)

-- name: insert_domain
-- A domain seen for the first time.
INSERT INTO domains (domain) VALUES (?) RETURNING domain, id

-- name: last_seq
-- The newest journal row.
SELECT max(seq) FROM journal

-- name: insert_journal
-- One kept body.
INSERT INTO journal (seq, received_at, kind, key, campaign, role, copies, secret, peer, body, origin)
VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?)

-- name: move_journal
-- An event that belongs to another campaign now.
UPDATE journal SET campaign = ? WHERE seq = ?

-- name: count_copy
-- One more delivery of an event.
UPDATE journal SET copies = copies + 1 WHERE seq = ?

-- name: outrank
-- A reply fetched from the API whose webhook has come: that one is its first delivery now.
UPDATE journal SET role = 4 WHERE seq = ?

-- name: load_bodies
-- The bodies of these journal rows, and when they arrived.
SELECT seq, body, received_at FROM journal WHERE seq IN (:seqs...)

-- name: load_variant
-- Whether this unequal copy is kept already.
SELECT seq FROM variants WHERE kind = ? AND key = ? AND digest = ?

-- name: insert_variant
-- An unequal copy of a known event.
INSERT INTO variants (kind, key, digest, seq) VALUES (?, ?, ?, ?)

-- name: load_variant_bodies
-- Unequal copies of an event, to be compared with one more.
SELECT body FROM variants JOIN journal USING (seq)
WHERE variants.kind = ? AND variants.key = ? AND role = 2 ORDER BY seq LIMIT 20

-- name: write_message
-- A message's new state.
INSERT INTO messages (key, campaign, step, sent_at, soft_at, hard_at, received_after, sent_seq, domain, soft_seq,
                      hard_seq, soft_reason, hard_reason)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET
    campaign = excluded.campaign, step = excluded.step, sent_at = excluded.sent_at, soft_at = excluded.soft_at,
    hard_at = excluded.hard_at, received_after = excluded.received_after, sent_seq = excluded.sent_seq,
    domain = excluded.domain, soft_seq = excluded.soft_seq, hard_seq = excluded.hard_seq,
    soft_reason = excluded.soft_reason, hard_reason = excluded.hard_reason

-- name: write_reply
-- A reply's new state.
INSERT INTO replies (key, campaign, step, at, origin, first_received_at, seq, message, best_campaign,
                     best_lead, best_class, other_campaign, other_step, other_lead, other_class, message_sent_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET
    campaign = excluded.campaign, step = excluded.step, at = excluded.at, origin = excluded.origin,
    first_received_at = excluded.first_received_at, seq = excluded.seq, message = excluded.message,
    best_campaign = excluded.best_campaign, best_lead = excluded.best_lead, best_class = excluded.best_class,
    other_campaign = excluded.other_campaign, other_step = excluded.other_step,
    other_lead = excluded.other_lead, other_class = excluded.other_class,
    message_sent_at = excluded.message_sent_at

-- name: write_start
-- A start of a campaign.
INSERT INTO starts (key, campaign, at, first_received_at, seq) VALUES (?, ?, ?, ?, ?)

-- name: replies_of_lead
-- A lead's replies in a campaign.
SELECT at, step, message_sent_at, class FROM replies WHERE campaign = ? AND lead = ?

-- name: name_campaign
-- The latest name wins; of two at the same time the smaller.
UPDATE campaigns SET name = :name, name_at = :at
WHERE id = :id AND (name_at IS NULL OR name_at < :at OR (name_at = :at AND :name < name))

-- name: widen_campaign
-- The earliest and latest event of a campaign.
WITH events (campaign, first, last) AS (VALUES (?, ?, ?))
UPDATE campaigns SET first_event_at = min(coalesce(first_event_at, first), first),
                     last_event_at = max(coalesce(last_event_at, last), last)
FROM events WHERE id = campaign

-- name: load_span
-- The earliest and latest event of a campaign as they are held.
SELECT first_event_at, last_event_at, span_removals FROM campaigns WHERE id = ?

-- name: widen_too_far
-- An end of the span has moved away: what is held may be too wide until it is measured.
UPDATE campaigns SET span_removals = span_removals + 1 WHERE id = :id

-- name: narrow_span
-- A span measured on a snapshot. An end that was widened since is exact; one that lost an event since is not.
UPDATE campaigns SET
    first_event_at = CASE WHEN first_event_at IS :held_first THEN :first ELSE first_event_at END,
    last_event_at = CASE WHEN last_event_at IS :held_last THEN :last ELSE last_event_at END,
    span_removals = 0
WHERE id = :id AND span_removals = :removals

-- name: add_totals
-- Differences of one campaign's totals, whole (step -1) or of one step.
INSERT INTO totals (campaign, step, sent, attempted, accepted, bounced, bounced_hard, bounced_soft, replies,
                    replied, replied_human, starts)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (campaign, step) DO UPDATE SET
    sent = sent + excluded.sent, attempted = attempted + excluded.attempted,
    accepted = accepted + excluded.accepted, bounced = bounced + excluded.bounced,
    bounced_hard = bounced_hard + excluded.bounced_hard, bounced_soft = bounced_soft + excluded.bounced_soft,
    replies = replies + excluded.replies, replied = replied + excluded.replied,
    replied_human = replied_human + excluded.replied_human, starts = starts + excluded.starts

-- name: add_unsent
-- Differences of bounced messages whose send is not held.
WITH changes (campaign, step, bounced, bounced_hard) AS (VALUES (?, ?, ?, ?))
UPDATE totals SET bounced_unsent = bounced_unsent + changes.bounced,
                  bounced_hard_unsent = bounced_hard_unsent + changes.bounced_hard
FROM changes WHERE totals.campaign = changes.campaign AND totals.step = changes.step

-- name: add_series
-- Differences of one quarter of an hour, of a campaign or (0) of the workspace.
INSERT INTO series (campaign, step, quarter, sent, attempted, accepted, bounced, bounced_hard, bounced_soft,
                    replies, replied, replied_human, starts)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (campaign, quarter, step) DO UPDATE SET
    sent = sent + excluded.sent, attempted = attempted + excluded.attempted,
    accepted = accepted + excluded.accepted, bounced = bounced + excluded.bounced,
    bounced_hard = bounced_hard + excluded.bounced_hard, bounced_soft = bounced_soft + excluded.bounced_soft,
    replies = replies + excluded.replies, replied = replied + excluded.replied,
    replied_human = replied_human + excluded.replied_human, starts = starts + excluded.starts

-- name: add_days
-- The same of the day, under its first quarter of an hour.
INSERT INTO days (campaign, step, quarter, sent, attempted, accepted, bounced, bounced_hard, bounced_soft,
                  replies, replied, replied_human, starts)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (campaign, quarter, step) DO UPDATE SET
    sent = sent + excluded.sent, attempted = attempted + excluded.attempted,
    accepted = accepted + excluded.accepted, bounced = bounced + excluded.bounced,
    bounced_hard = bounced_hard + excluded.bounced_hard, bounced_soft = bounced_soft + excluded.bounced_soft,
    replies = replies + excluded.replies, replied = replied + excluded.replied,
    replied_human = replied_human + excluded.replied_human, starts = starts + excluded.starts

-- name: add_shifts
-- Differences of what is added to a quarter of an hour to book at the send.
INSERT INTO shifts (campaign, step, quarter, attempted, accepted, bounced, bounced_hard, bounced_soft, replies,
                    replied, replied_human, bounced_unsent, bounced_hard_unsent)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (campaign, quarter, step) DO UPDATE SET
    attempted = attempted + excluded.attempted, accepted = accepted + excluded.accepted,
    bounced = bounced + excluded.bounced, bounced_hard = bounced_hard + excluded.bounced_hard,
    bounced_soft = bounced_soft + excluded.bounced_soft, replies = replies + excluded.replies,
    replied = replied + excluded.replied, replied_human = replied_human + excluded.replied_human,
    bounced_unsent = bounced_unsent + excluded.bounced_unsent,
    bounced_hard_unsent = bounced_hard_unsent + excluded.bounced_hard_unsent

-- name: add_bounces
-- Differences of one quarter of an hour by reason and domain.
INSERT INTO bounces (campaign, step, quarter, reason, domain, bounced_hard, bounced_soft)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (campaign, quarter, step, reason, domain) DO UPDATE SET
    bounced_hard = bounced_hard + excluded.bounced_hard, bounced_soft = bounced_soft + excluded.bounced_soft

-- name: add_minutes
-- Differences of one minute.
INSERT INTO minutes (campaign, minute, sent, bounced, bounced_soft, replied, replied_human)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (campaign, minute) DO UPDATE SET
    sent = sent + excluded.sent, bounced = bounced + excluded.bounced,
    bounced_soft = bounced_soft + excluded.bounced_soft, replied = replied + excluded.replied,
    replied_human = replied_human + excluded.replied_human

-- name: add_baseline
-- Differences that lie before a campaign's first snapshot.
UPDATE baseline_ledgers SET sent = sent + ?, bounced = bounced + ?, bounced_soft = bounced_soft + ?,
                            replied = replied + ?, replied_human = replied_human + ?
WHERE campaign = ? AND at = ?

-- name: set_contacted
-- The sends of the lowest step; the step that is not known sorts last.
UPDATE totals SET contacted = coalesce((
    SELECT steps.sent FROM totals AS steps
    WHERE steps.campaign = totals.campaign AND steps.step >= 0 AND steps.sent > 0
    ORDER BY steps.step LIMIT 1), 0)
WHERE campaign IN (:campaigns...) AND step = -1

-- name: forget_minutes
-- Minutes that no snapshot can ask for any more.
DELETE FROM minutes WHERE minute < ?

-- name: open_stretch
-- A new stretch of acceptance.
INSERT INTO accepting (started_at, last_at) VALUES (:started_at, :last_at) RETURNING id

-- name: extend_stretch
-- A commit worked: we accept until now.
UPDATE accepting SET last_at = :last_at, stopped = :stopped WHERE id = :id

-- name: insert_refusals
-- A run of refusals with nothing accepted between.
INSERT INTO refusing (started_at, last_at, refusals) VALUES (:started_at, :last_at, :count) RETURNING id

-- name: extend_refusals
-- The same run, grown.
UPDATE refusing SET last_at = :last_at, refusals = :count WHERE id = :id
