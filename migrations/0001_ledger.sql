-- What enters history: the ledger, the settings that decisions were made under, and which migrations ran.
-- Names may not begin with dolt_ (reserved). bead_id compares byte by byte, as beads' own ids do.
CREATE TABLE IF NOT EXISTS watch_migration (
    version INT NOT NULL PRIMARY KEY,  -- its number
    name VARCHAR(255) NOT NULL,  -- its name
    program VARCHAR(64) NOT NULL,  -- version of the program that applied it
    applied_at DATETIME(6) NOT NULL  -- database clock, UTC
);

CREATE TABLE IF NOT EXISTS watch_settings (
    hash VARCHAR(64) NOT NULL PRIMARY KEY,  -- what `watch_decision.settings_hash` names
    text LONGTEXT NOT NULL  -- the rules and `settle` as JSON, without secrets
);

-- (bead_id, version) is what makes a claim exclusive: two racers insert the same key with different tokens, and one gets 1213.
-- No foreign key: a stream outlives its bead.
CREATE TABLE IF NOT EXISTS watch_decision (
    bead_id VARCHAR(255) NOT NULL,  -- the stream: a bead, or '' for decisions about no bead (pause, resume, resync)
    version INT NOT NULL,  -- 1, 2, 3 … in each stream, without a gap
    kind VARCHAR(32) NOT NULL,  -- what the entry says
    attempt INT NOT NULL,  -- which attempt since the bead matched or was re-armed; 0 where it is about none
    rule VARCHAR(255) NOT NULL,  -- name of the rule, '' for all
    token VARCHAR(64) NOT NULL,  -- random, one for each claim: the attempt's idempotency key; its reports carry it
    cause_commit VARCHAR(64) NOT NULL,  -- the commit that made it so
    observed_commit VARCHAR(64) NOT NULL,  -- the commit that it was decided on
    decided_at DATETIME(6) NOT NULL,  -- database clock, UTC, microseconds
    job_id VARCHAR(255) NOT NULL,  -- the target's name for the run, '' where there is none
    reason TEXT NOT NULL,  -- in words
    bead_hash VARCHAR(64) NOT NULL,  -- of the columns that the rule and the content are made of, our own cells left out: tells whether somebody edited the bead since
    settings_hash VARCHAR(64) NOT NULL,  -- which row of `watch_settings` it was decided under
    actor VARCHAR(255) NOT NULL,  -- as in beads' own events
    detail LONGTEXT NOT NULL,  -- JSON: `given`, what it rests on that history does not hold; `wrote`, each cell that its commit set; and what its kind adds
    PRIMARY KEY (bead_id, version)
);

-- Committed before the tables themselves are made: only then are they ignored.
-- REPLACE, because Dolt 1.86.4 loses the first INSERT IGNORE into a dolt_ignore that never held a row (it answers '1 row' all the same).
REPLACE INTO dolt_ignore (pattern, ignored) VALUES ('watch_cursor', 1);
REPLACE INTO dolt_ignore (pattern, ignored) VALUES ('watch_bead', 1);
REPLACE INTO dolt_ignore (pattern, ignored) VALUES ('watch_attempt', 1);
