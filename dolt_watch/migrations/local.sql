-- What never enters history (dolt_ignore): the cursor, the saved state, and the claims that are not yet in it. Lost in a clone or on a new server; made anew by `dolt_watch init`.
CREATE TABLE IF NOT EXISTS watch_cursor (
    id INT NOT NULL PRIMARY KEY,
    commit_hash VARCHAR(64) NOT NULL,
    fence VARCHAR(64) NOT NULL,
    saved VARCHAR(64) NOT NULL,
    hashes TEXT NOT NULL,
    dispatch_due DATETIME(6),
    reap_due DATETIME(6),
    rules TEXT NOT NULL,
    compiled LONGTEXT NOT NULL,
    globals LONGTEXT NOT NULL
);

-- record '': the bead has left; such rows are swept now and then.
CREATE TABLE IF NOT EXISTS watch_bead (
    bead_id VARCHAR(255) NOT NULL PRIMARY KEY,
    phase VARCHAR(32) NOT NULL,
    record LONGTEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS watch_attempt (
    bead_id VARCHAR(255) NOT NULL PRIMARY KEY,
    attempt INT NOT NULL,
    rule VARCHAR(255) NOT NULL,
    token VARCHAR(64) NOT NULL,
    claimed_at DATETIME(6) NOT NULL,
    deadline DATETIME(6) NOT NULL,
    worker VARCHAR(255) NOT NULL
);

INSERT IGNORE INTO watch_cursor (id, commit_hash, fence, saved, hashes, rules, compiled, globals) VALUES (1, '', '', '', '', '', '', '');
