-- What never enters history (dolt_ignore): the cursor, the saved state, and the claims that are not yet in it. Lost in a clone or on a new server; made anew by `dolt_watch init`.
CREATE TABLE IF NOT EXISTS watch_cursor (
    id INT NOT NULL PRIMARY KEY,  -- always 1
    commit_hash VARCHAR(64) NOT NULL,  -- the last commit that was folded
    fence VARCHAR(64) NOT NULL,  -- random, changed by each transaction of ours: workers decide one after another
    saved VARCHAR(64) NOT NULL,  -- random, changed by each save: a worker's memory is good while it stands
    hashes TEXT NOT NULL,  -- JSON: each watched table's working hash, since when it is seen, whether it stands uncommitted
    dispatch_due DATETIME(6),  -- when time alone gives the dispatcher something to do
    reap_due DATETIME(6),  -- the same for the reaper
    rules TEXT NOT NULL,  -- JSON: hashes of the rules that the state was folded by, and of those before
    compiled LONGTEXT NOT NULL,  -- JSON: the rules as SQL, so that a tick need not compile them
    globals LONGTEXT NOT NULL  -- JSON: pauses, resting targets, stopped rules, claims of the last hour, notices not yet told, the worker that saved last
);

-- record '': the bead has left; such rows are swept now and then.
CREATE TABLE IF NOT EXISTS watch_bead (
    bead_id VARCHAR(255) NOT NULL PRIMARY KEY,  -- the bead
    phase VARCHAR(32) NOT NULL,  -- where it stands
    record LONGTEXT NOT NULL  -- JSON: all that deciding needs to know of it
);

CREATE TABLE IF NOT EXISTS watch_attempt (
    bead_id VARCHAR(255) NOT NULL PRIMARY KEY,  -- the bead
    attempt INT NOT NULL,  -- as in its claim
    rule VARCHAR(255) NOT NULL,  -- as in its claim
    token VARCHAR(64) NOT NULL,  -- as in its claim
    claimed_at DATETIME(6) NOT NULL,  -- database clock, UTC
    deadline DATETIME(6) NOT NULL,  -- until then nobody but the holder of the token settles it
    worker VARCHAR(255) NOT NULL  -- the host that claimed it
);

INSERT IGNORE INTO watch_cursor (id, commit_hash, fence, saved, hashes, rules, compiled, globals) VALUES (1, '', '', '', '', '', '', '');
