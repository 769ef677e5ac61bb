-- Takes dolt_watch out of a tracker: its tables, and its rows of dolt_ignore. Stop the worker first.
DROP TABLE IF EXISTS watch_cursor, watch_bead, watch_attempt, watch_decision, watch_settings, watch_migration;
DELETE FROM dolt_ignore WHERE pattern IN ('watch_cursor', 'watch_bead', 'watch_attempt');
-- Only these tables: uncommitted changes of other tables stay uncommitted.
CALL DOLT_ADD('watch_decision', 'watch_settings', 'watch_migration', 'dolt_ignore');
CALL DOLT_COMMIT('--skip-empty', '-m', 'dolt_watch uninstalled');
