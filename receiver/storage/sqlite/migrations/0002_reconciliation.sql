-- Kept empty here.
BEGIN IMMEDIATE;

PRAGMA user_version = 2;
COMMIT;
