-- Tables that never enter history (dolt_ignore): the cursor, the saved state, and claims that history doesn't contain yet. A clone or a new server lacks them; `dolt_watch init` creates them again.
CREATE TABLE IF NOT EXISTS watch_cursor (
    id INT NOT NULL PRIMARY KEY,  -- always 1
    commit_hash VARCHAR(64) NOT NULL,  -- last commit that was applied
    fence VARCHAR(64) NOT NULL,  -- random, changed by each transaction of dolt_watch, so that workers decide one after another
    saved VARCHAR(64) NOT NULL,  -- random, changed by each save: a worker's state in memory is valid while the value is the same
    hashes TEXT NOT NULL,  -- JSON: the working hash of each watched table, when it was first seen, and whether the table has uncommitted changes
    dispatch_due DATETIME(6),  -- when a dispatch decision becomes due without a new commit
    reap_due DATETIME(6),  -- when a reap decision becomes due without a new commit
    rules TEXT NOT NULL,  -- JSON: hashes of the rules that the state is based on, and of earlier rules
    compiled LONGTEXT NOT NULL,  -- JSON: the rules compiled to SQL, so that a tick doesn't compile them
    globals LONGTEXT NOT NULL  -- JSON: pauses, targets that are cooling down, halted rules, claims of the last hour, unsent notifications, and the worker that saved last
);

-- Rows with an empty record are tombstones of beads that left. They are deleted from time to time.
CREATE TABLE IF NOT EXISTS watch_bead (
    bead_id VARCHAR(255) NOT NULL PRIMARY KEY,  -- ID of the bead
    phase VARCHAR(32) NOT NULL,  -- phase of the bead
    record LONGTEXT NOT NULL  -- JSON: the state of the bead that decisions are based on
);

CREATE TABLE IF NOT EXISTS watch_attempt (
    bead_id VARCHAR(255) NOT NULL PRIMARY KEY,  -- ID of the bead
    attempt INT NOT NULL,  -- as in the claim
    rule VARCHAR(255) NOT NULL,  -- as in the claim
    token VARCHAR(64) NOT NULL,  -- as in the claim
    claimed_at DATETIME(6) NOT NULL,  -- time of the database server, UTC
    deadline DATETIME(6) NOT NULL,  -- until then, only the worker that claimed the bead settles the attempt
    worker VARCHAR(255) NOT NULL  -- host of the worker that claimed the bead
);

INSERT IGNORE INTO watch_cursor (id, commit_hash, fence, saved, hashes, rules, compiled, globals) VALUES (1, '', '', '', '', '', '', '');
