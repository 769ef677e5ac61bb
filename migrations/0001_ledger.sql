-- Tables that enter history: the ledger, the settings of its decisions, and the migrations that ran.
-- Names may not begin with dolt_ (reserved). bead_id compares byte by byte, as bd's own ids do.
CREATE TABLE IF NOT EXISTS watch_migration (
    version INT NOT NULL PRIMARY KEY,  -- its number
    name VARCHAR(255) NOT NULL,  -- its name
    program VARCHAR(64) NOT NULL,  -- version of the program that applied it
    applied_at DATETIME(6) NOT NULL  -- database clock, UTC
);

CREATE TABLE IF NOT EXISTS watch_settings (
    hash VARCHAR(64) NOT NULL PRIMARY KEY,  -- the value of `watch_decision.settings_hash`
    text LONGTEXT NOT NULL  -- the rules and `settle` as JSON, without secrets
);

-- The key (bead_id, version) makes a claim exclusive: of two workers that insert it with different tokens, one gets error 1213.
-- No foreign key: a stream outlives its bead.
CREATE TABLE IF NOT EXISTS watch_decision (
    bead_id VARCHAR(255) NOT NULL,  -- the stream: a bead, or '' for decisions about no bead (pause, resume, resync)
    version INT NOT NULL,  -- 1, 2, 3 … in each stream, without a gap
    kind VARCHAR(32) NOT NULL,  -- the kind of the entry
    attempt INT NOT NULL,  -- number of the attempt since the bead matched or was edited by a user; 0 for an entry about no attempt
    rule VARCHAR(255) NOT NULL,  -- name of the rule; '' for all rules
    token VARCHAR(64) NOT NULL,  -- random, one for each claim: the attempt's idempotency key, repeated in its outcome entries
    cause_commit VARCHAR(64) NOT NULL,  -- the commit that caused the entry
    observed_commit VARCHAR(64) NOT NULL,  -- HEAD at the time of the decision
    decided_at DATETIME(6) NOT NULL,  -- database clock, UTC, microseconds
    job_id VARCHAR(255) NOT NULL,  -- the target's ID of the run; '' if it has none
    reason TEXT NOT NULL,  -- the reason as text
    bead_hash VARCHAR(64) NOT NULL,  -- hash of the bead's content and of the rule's columns, without the cells of dolt_watch; another hash means that a user edited the bead
    settings_hash VARCHAR(64) NOT NULL,  -- the row of `watch_settings` with the settings of the decision
    actor VARCHAR(255) NOT NULL,  -- as in bd's own events
    detail LONGTEXT NOT NULL,  -- JSON: `given`, the recorded inputs; `wrote`, each cell that the entry's commit set; and keys of its kind
    PRIMARY KEY (bead_id, version)
);

-- Committed before the tables themselves are made, because only then are they ignored.
-- REPLACE, because Dolt 1.86.4 loses the first INSERT IGNORE into a dolt_ignore that never contained a row (it reports '1 row' nevertheless).
REPLACE INTO dolt_ignore (pattern, ignored) VALUES ('watch_cursor', 1);
REPLACE INTO dolt_ignore (pattern, ignored) VALUES ('watch_bead', 1);
REPLACE INTO dolt_ignore (pattern, ignored) VALUES ('watch_attempt', 1);
