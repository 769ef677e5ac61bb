-- What enters history: the ledger, the settings that decisions were made under, and which migrations ran.
-- Names may not begin with dolt_ (reserved). bead_id compares byte by byte, as beads' own ids do.
CREATE TABLE IF NOT EXISTS watch_migration (
    version INT NOT NULL PRIMARY KEY,
    name VARCHAR(255) NOT NULL,
    program VARCHAR(64) NOT NULL,
    applied_at DATETIME(6) NOT NULL
);

CREATE TABLE IF NOT EXISTS watch_settings (
    hash VARCHAR(64) NOT NULL PRIMARY KEY,
    text LONGTEXT NOT NULL
);

-- (bead_id, version) is what makes a claim exclusive: two racers insert the same key with different tokens, and one gets 1213.
-- No foreign key: a stream outlives its bead.
CREATE TABLE IF NOT EXISTS watch_decision (
    bead_id VARCHAR(255) NOT NULL,
    version INT NOT NULL,
    kind VARCHAR(32) NOT NULL,
    attempt INT NOT NULL,
    rule VARCHAR(255) NOT NULL,
    token VARCHAR(64) NOT NULL,
    cause_commit VARCHAR(64) NOT NULL,
    observed_commit VARCHAR(64) NOT NULL,
    decided_at DATETIME(6) NOT NULL,
    job_id VARCHAR(255) NOT NULL,
    reason TEXT NOT NULL,
    bead_hash VARCHAR(64) NOT NULL,
    settings_hash VARCHAR(64) NOT NULL,
    actor VARCHAR(255) NOT NULL,
    detail LONGTEXT NOT NULL,
    PRIMARY KEY (bead_id, version)
);


-- Committed before the tables themselves are made: only then are they ignored. Not INSERT IGNORE: Dolt loses the first where dolt_ignore is still empty.
REPLACE INTO dolt_ignore (pattern, ignored) VALUES ('watch_cursor', 1);
REPLACE INTO dolt_ignore (pattern, ignored) VALUES ('watch_bead', 1);
REPLACE INTO dolt_ignore (pattern, ignored) VALUES ('watch_attempt', 1);
