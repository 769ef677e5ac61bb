-- Tables in history: the ledger, the settings of decisions, and the applied migrations.
-- Dolt reserves names that begin with dolt_. bead_id is compared byte by byte, like the IDs of bd.
CREATE TABLE IF NOT EXISTS watch_migration (
    version INT NOT NULL PRIMARY KEY,  -- number of the migration
    name VARCHAR(255) NOT NULL,  -- name of the migration
    program VARCHAR(64) NOT NULL,  -- version of dolt_watch that applied it
    applied_at DATETIME(6) NOT NULL  -- time of the database server, UTC
);

CREATE TABLE IF NOT EXISTS watch_settings (
    hash VARCHAR(64) NOT NULL PRIMARY KEY,  -- hash of `text`, which `watch_decision.settings_hash` refers to
    text LONGTEXT NOT NULL  -- rules and `settle` as JSON, without secrets
);

-- The primary key (bead_id, version) makes claims exclusive: if two workers insert the same key with different tokens, one gets error 1213.
-- There is no foreign key, because a stream remains after its bead is deleted.
CREATE TABLE IF NOT EXISTS watch_decision (
    bead_id VARCHAR(255) NOT NULL,  -- stream: ID of a bead, or '' for entries about no bead (pause, resume, resync)
    version INT NOT NULL,  -- 1, 2, 3 … in each stream, without gaps
    kind VARCHAR(32) NOT NULL,  -- kind of the entry
    attempt INT NOT NULL,  -- number of the attempt since the bead matched or was edited; 0 for entries about no attempt
    rule VARCHAR(255) NOT NULL,  -- name of the rule, or '' for all rules
    token VARCHAR(64) NOT NULL,  -- random for each claim: idempotency key of the attempt, also in its outcome entries
    cause_commit VARCHAR(64) NOT NULL,  -- commit that caused the decision
    observed_commit VARCHAR(64) NOT NULL,  -- commit that the decision is based on
    decided_at DATETIME(6) NOT NULL,  -- time of the database server, UTC, with microseconds
    job_id VARCHAR(255) NOT NULL,  -- the target's name for the run, or ''
    reason TEXT NOT NULL,  -- reason as text
    bead_hash VARCHAR(64) NOT NULL,  -- hash of the columns that the rule and the content consist of, without cells that dolt_watch writes: shows whether the bead was edited since
    settings_hash VARCHAR(64) NOT NULL,  -- row of `watch_settings` that the decision is based on
    actor VARCHAR(255) NOT NULL,  -- actor, as in bd's events
    detail LONGTEXT NOT NULL,  -- JSON: `given`, the inputs of the decision that history doesn't contain; `wrote`, each cell that its commit set; and the fields of its kind
    PRIMARY KEY (bead_id, version)
);

-- Committed before the tables are created: only then does Dolt ignore the tables.
-- REPLACE, because Dolt 1.86.4 loses the first INSERT IGNORE into a dolt_ignore that never contained a row, although it reports '1 row'.
REPLACE INTO dolt_ignore (pattern, ignored) VALUES ('watch_cursor', 1);
REPLACE INTO dolt_ignore (pattern, ignored) VALUES ('watch_bead', 1);
REPLACE INTO dolt_ignore (pattern, ignored) VALUES ('watch_attempt', 1);
