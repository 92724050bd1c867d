-- Webhooks that were registered with Leadterra, which lists none.
BEGIN IMMEDIATE;

CREATE TABLE webhooks (
    webhook_id TEXT PRIMARY KEY,
    leadterra TEXT NOT NULL, -- base URL of the API that registered it
    url TEXT NOT NULL,
    events TEXT NOT NULL, -- names, sorted, separated by commas
    registered_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 4;
COMMIT;
