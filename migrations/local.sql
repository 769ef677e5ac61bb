-- Tables that never enter history (dolt_ignore): the cursor, the saved state, and the claims that it lacks. A clone or a new server has none of them; `dolt_watch init` makes them.
CREATE TABLE IF NOT EXISTS watch_cursor (
    id INT NOT NULL PRIMARY KEY,  -- always 1
    commit_hash VARCHAR(64) NOT NULL,  -- the last commit that was applied
    fence VARCHAR(64) NOT NULL,  -- random, changed by each transaction of dolt_watch, so that workers decide one after another
    saved VARCHAR(64) NOT NULL,  -- random, changed by each save; while it is unchanged, a worker's memory is valid
    hashes TEXT NOT NULL,  -- JSON: each watched table's working hash, when it was first seen, and whether it is uncommitted
    dispatch_due DATETIME(6),  -- when time alone gives the dispatcher something to do
    reap_due DATETIME(6),  -- the same for the reaper
    rules TEXT NOT NULL,  -- JSON: hashes of the rules of the state, and of earlier rules
    compiled LONGTEXT NOT NULL,  -- JSON: the rules as SQL, so that a tick need not compile them
    globals LONGTEXT NOT NULL  -- JSON: pauses, cooldowns, outages, stopped rules, claims of the last hour, notices not yet sent, and the worker that saved last
);

-- Many beads are saved in one row, which a tick reads in a fifth of the time of a row each. The rows of single beads are newer. From time to time they are merged into that row.
CREATE TABLE IF NOT EXISTS watch_bead (
    bead_id VARCHAR(255) NOT NULL PRIMARY KEY,  -- the bead; '' in the row of many beads
    phase VARCHAR(32) NOT NULL,  -- its phase; '' if it has none any more, or in the row of many beads
    record LONGTEXT NOT NULL  -- JSON: the bead's record in the state; '' if it has no phase any more
);

CREATE TABLE IF NOT EXISTS watch_attempt (
    bead_id VARCHAR(255) NOT NULL PRIMARY KEY,  -- the bead
    attempt INT NOT NULL,  -- as in its claim
    rule VARCHAR(255) NOT NULL,  -- as in its claim
    token VARCHAR(64) NOT NULL,  -- as in its claim
    claimed_at DATETIME(6) NOT NULL,  -- database clock, UTC
    deadline DATETIME(6) NOT NULL,  -- until this time only the holder of the token settles it
    worker VARCHAR(255) NOT NULL  -- the host that claimed it
);

INSERT IGNORE INTO watch_cursor (id, commit_hash, fence, saved, hashes, rules, compiled, globals) VALUES (1, '', '', '', '', '', '', '');
