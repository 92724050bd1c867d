-- Facts about the database itself.

-- name: insert_fact
-- A fact that is made once.
INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING

-- name: load_facts
-- All facts.
SELECT name, value FROM meta

-- name: set_fact
-- A fact that moves.
INSERT INTO meta (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value

-- name: add_fact
-- A fact that is counted.
INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value

-- name: load_fact
-- One fact.
SELECT value FROM meta WHERE name = :name

-- name: delete_fact
-- A fact that is no more.
DELETE FROM meta WHERE name = :name

-- name: insert_secret
-- A signing secret seen for the first time, by its keyed fingerprint.
INSERT INTO secrets (fingerprint, first_seen_at) VALUES (:fingerprint, :now) ON CONFLICT DO NOTHING

-- name: load_secret
-- The number of a signing secret.
SELECT id FROM secrets WHERE fingerprint = :fingerprint

-- name: count_objects
-- How much the schema names.
SELECT count(*) FROM sqlite_schema

-- name: tables
-- All tables, those that grow with every event last.
SELECT name FROM sqlite_schema WHERE type = 'table'
ORDER BY name IN ('series', 'days', 'leads', 'replies', 'messages', 'quarantine', 'journal'), name = 'journal', name
