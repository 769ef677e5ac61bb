-- The beads tables that `bd init` of bd 1.3 creates (SHOW CREATE TABLE), in MySQL's dialect. The
-- demo uses them to create a tracker without bd, on either engine. Indexes are separate statements,
-- because SQLite has no indexes in CREATE TABLE. Table options are Dolt's defaults.

INSERT INTO dolt_ignore (pattern, ignored) VALUES ('bd_events_seq', 1);
INSERT INTO dolt_ignore (pattern, ignored) VALUES ('events', 1);
INSERT INTO dolt_ignore (pattern, ignored) VALUES ('ignored_schema_migrations', 1);
INSERT INTO dolt_ignore (pattern, ignored) VALUES ('leases', 1);
INSERT INTO dolt_ignore (pattern, ignored) VALUES ('local_metadata', 1);
INSERT INTO dolt_ignore (pattern, ignored) VALUES ('repo_mtimes', 1);
INSERT INTO dolt_ignore (pattern, ignored) VALUES ('wisp_%', 1);
INSERT INTO dolt_ignore (pattern, ignored) VALUES ('wisps', 1);

CREATE TABLE `issues` (
  `id` varchar(255) NOT NULL,
  `content_hash` varchar(64),
  `title` varchar(500) NOT NULL,
  `description` longtext NOT NULL,
  `design` longtext NOT NULL,
  `acceptance_criteria` longtext NOT NULL,
  `notes` longtext NOT NULL,
  `status` varchar(32) NOT NULL DEFAULT 'open',
  `priority` int NOT NULL DEFAULT '2',
  `issue_type` varchar(32) NOT NULL DEFAULT 'task',
  `assignee` varchar(255),
  `estimated_minutes` int,
  `created_at` datetime NOT NULL DEFAULT CURRENT_TIMESTAMP,
  `created_by` varchar(255) DEFAULT '',
  `owner` varchar(255) DEFAULT '',
  `updated_at` datetime NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  `closed_at` datetime,
  `closed_by_session` varchar(255) DEFAULT '',
  `external_ref` varchar(255),
  `spec_id` varchar(1024),
  `compaction_level` int DEFAULT '0',
  `compacted_at` datetime,
  `compacted_at_commit` varchar(64),
  `original_size` int,
  `sender` varchar(255) DEFAULT '',
  `ephemeral` tinyint(1) DEFAULT '0',
  `wisp_type` varchar(32) DEFAULT '',
  `pinned` tinyint(1) DEFAULT '0',
  `is_template` tinyint(1) DEFAULT '0',
  `mol_type` varchar(32) DEFAULT '',
  `work_type` varchar(32) DEFAULT 'mutex',
  `source_system` varchar(255) DEFAULT '',
  `metadata` json DEFAULT (json_object()),
  `source_repo` varchar(512) DEFAULT '',
  `close_reason` longtext DEFAULT '',
  `event_kind` varchar(32) DEFAULT '',
  `actor` varchar(255) DEFAULT '',
  `target` varchar(255) DEFAULT '',
  `payload` text DEFAULT '',
  `await_type` varchar(32) DEFAULT '',
  `await_id` varchar(255) DEFAULT '',
  `timeout_ns` bigint DEFAULT '0',
  `waiters` text DEFAULT '',
  `hook_bead` varchar(255) DEFAULT '',
  `role_bead` varchar(255) DEFAULT '',
  `agent_state` varchar(32) DEFAULT '',
  `last_activity` datetime,
  `role_type` varchar(32) DEFAULT '',
  `rig` varchar(255) DEFAULT '',
  `due_at` datetime,
  `defer_until` datetime,
  `no_history` tinyint(1) DEFAULT '0',
  `started_at` datetime,
  `is_blocked` tinyint(1) NOT NULL DEFAULT '0',
  `row_lock` bigint NOT NULL DEFAULT '0',
  `storage_class` varchar(16),
  PRIMARY KEY (`id`)
);
CREATE INDEX `idx_issues_assignee` ON `issues` (`assignee`);
CREATE INDEX `idx_issues_created_at` ON `issues` (`created_at`);
CREATE INDEX `idx_issues_defer_until` ON `issues` (`defer_until`);
CREATE INDEX `idx_issues_external_ref` ON `issues` (`external_ref`);
CREATE INDEX `idx_issues_is_blocked` ON `issues` (`is_blocked`,`status`);
CREATE INDEX `idx_issues_issue_type` ON `issues` (`issue_type`);
CREATE INDEX `idx_issues_priority` ON `issues` (`priority`);
CREATE INDEX `idx_issues_spec_id` ON `issues` (`spec_id`);
CREATE INDEX `idx_issues_status_updated_at` ON `issues` (`status`,`updated_at`);

CREATE TABLE `events` (
  `issue_id` varchar(255) NOT NULL,
  `event_type` varchar(32) NOT NULL,
  `actor` varchar(255) NOT NULL,
  `old_value` longtext,
  `new_value` longtext,
  `comment` text,
  `created_at` datetime NOT NULL DEFAULT CURRENT_TIMESTAMP,
  `id` char(36) NOT NULL,
  PRIMARY KEY (`id`),
  CONSTRAINT `fk_events_issue` FOREIGN KEY (`issue_id`) REFERENCES `issues` (`id`) ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE INDEX `idx_events_created_at` ON `events` (`created_at`);
CREATE INDEX `idx_events_issue` ON `events` (`issue_id`);

CREATE TABLE `comments` (
  `id` char(36) NOT NULL,
  `issue_id` varchar(255) NOT NULL,
  `author` varchar(255) NOT NULL,
  `text` longtext NOT NULL,
  `created_at` datetime NOT NULL DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (`id`),
  CONSTRAINT `fk_comments_issue` FOREIGN KEY (`issue_id`) REFERENCES `issues` (`id`) ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE INDEX `idx_comments_created_at` ON `comments` (`created_at`);
CREATE INDEX `idx_comments_issue` ON `comments` (`issue_id`);
CREATE INDEX `idx_comments_issue_created_id` ON `comments` (`issue_id`,`created_at`,`id`);

CREATE TABLE `labels` (
  `issue_id` varchar(255) NOT NULL,
  `label` varchar(255) NOT NULL,
  PRIMARY KEY (`issue_id`,`label`),
  CONSTRAINT `fk_labels_issue` FOREIGN KEY (`issue_id`) REFERENCES `issues` (`id`) ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE INDEX `idx_labels_label` ON `labels` (`label`);

CREATE TABLE `dependencies` (
  `id` char(36) NOT NULL,
  `issue_id` varchar(255) NOT NULL,
  `type` varchar(32) NOT NULL DEFAULT 'blocks',
  `created_at` datetime NOT NULL DEFAULT CURRENT_TIMESTAMP,
  `created_by` varchar(255) NOT NULL,
  `metadata` json DEFAULT (json_object()),
  `thread_id` varchar(255) DEFAULT '',
  `depends_on_issue_id` varchar(255),
  `depends_on_wisp_id` varchar(255),
  `depends_on_external` varchar(255),
  PRIMARY KEY (`id`),
  CONSTRAINT `fk_dep_issue` FOREIGN KEY (`issue_id`) REFERENCES `issues` (`id`) ON DELETE CASCADE ON UPDATE CASCADE,
  CONSTRAINT `fk_dep_issue_target` FOREIGN KEY (`depends_on_issue_id`) REFERENCES `issues` (`id`) ON DELETE CASCADE ON UPDATE CASCADE,
  CONSTRAINT `ck_dep_one_target` CHECK (((((NOT(`depends_on_issue_id` IS NULL)) + (NOT(`depends_on_wisp_id` IS NULL))) + (NOT(`depends_on_external` IS NULL))) = 1))
);
CREATE INDEX `idx_dep_external_target` ON `dependencies` (`depends_on_external`);
CREATE INDEX `idx_dep_issue_target` ON `dependencies` (`depends_on_issue_id`);
CREATE INDEX `idx_dep_type_external` ON `dependencies` (`type`,`depends_on_external`);
CREATE INDEX `idx_dep_type_issue` ON `dependencies` (`type`,`depends_on_issue_id`);
CREATE INDEX `idx_dep_type_wisp` ON `dependencies` (`type`,`depends_on_wisp_id`);
CREATE INDEX `idx_dep_wisp_target` ON `dependencies` (`depends_on_wisp_id`);
CREATE INDEX `idx_dependencies_issue` ON `dependencies` (`issue_id`);
CREATE INDEX `idx_dependencies_thread` ON `dependencies` (`thread_id`);
CREATE UNIQUE INDEX `uk_dep_external_target` ON `dependencies` (`issue_id`,`depends_on_external`);
CREATE UNIQUE INDEX `uk_dep_issue_target` ON `dependencies` (`issue_id`,`depends_on_issue_id`);
CREATE UNIQUE INDEX `uk_dep_wisp_target` ON `dependencies` (`issue_id`,`depends_on_wisp_id`);

CREATE TABLE `leases` (
  `issue_id` varchar(255) NOT NULL,
  `holder` varchar(255) NOT NULL,
  `granted_at` datetime NOT NULL,
  `lease_expires_at` datetime NOT NULL,
  `heartbeat_at` datetime NOT NULL,
  `granted_node` varchar(255) NOT NULL DEFAULT '',
  PRIMARY KEY (`issue_id`)
);
CREATE INDEX `idx_leases_expires` ON `leases` (`lease_expires_at`);

CREATE TABLE `wisps` (
  `id` varchar(255) NOT NULL,
  `content_hash` varchar(64),
  `title` varchar(500) NOT NULL,
  `description` longtext NOT NULL DEFAULT '',
  `design` longtext NOT NULL DEFAULT '',
  `acceptance_criteria` longtext NOT NULL DEFAULT '',
  `notes` longtext NOT NULL DEFAULT '',
  `status` varchar(32) NOT NULL DEFAULT 'open',
  `priority` int NOT NULL DEFAULT '2',
  `issue_type` varchar(32) NOT NULL DEFAULT 'task',
  `assignee` varchar(255),
  `estimated_minutes` int,
  `created_at` datetime NOT NULL DEFAULT CURRENT_TIMESTAMP,
  `created_by` varchar(255) DEFAULT '',
  `owner` varchar(255) DEFAULT '',
  `updated_at` datetime NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  `closed_at` datetime,
  `closed_by_session` varchar(255) DEFAULT '',
  `external_ref` varchar(255),
  `spec_id` varchar(1024),
  `compaction_level` int DEFAULT '0',
  `compacted_at` datetime,
  `compacted_at_commit` varchar(64),
  `original_size` int,
  `sender` varchar(255) DEFAULT '',
  `ephemeral` tinyint(1) DEFAULT '0',
  `wisp_type` varchar(32) DEFAULT '',
  `pinned` tinyint(1) DEFAULT '0',
  `is_template` tinyint(1) DEFAULT '0',
  `mol_type` varchar(32) DEFAULT '',
  `work_type` varchar(32) DEFAULT 'mutex',
  `source_system` varchar(255) DEFAULT '',
  `metadata` json DEFAULT (json_object()),
  `source_repo` varchar(512) DEFAULT '',
  `close_reason` longtext DEFAULT '',
  `event_kind` varchar(32) DEFAULT '',
  `actor` varchar(255) DEFAULT '',
  `target` varchar(255) DEFAULT '',
  `payload` text DEFAULT '',
  `await_type` varchar(32) DEFAULT '',
  `await_id` varchar(255) DEFAULT '',
  `timeout_ns` bigint DEFAULT '0',
  `waiters` text DEFAULT '',
  `hook_bead` varchar(255) DEFAULT '',
  `role_bead` varchar(255) DEFAULT '',
  `agent_state` varchar(32) DEFAULT '',
  `last_activity` datetime,
  `role_type` varchar(32) DEFAULT '',
  `rig` varchar(255) DEFAULT '',
  `due_at` datetime,
  `defer_until` datetime,
  `no_history` tinyint(1) DEFAULT '0',
  `started_at` datetime,
  `row_lock` bigint NOT NULL DEFAULT '0',
  `storage_class` varchar(16),
  `is_blocked` tinyint(1) NOT NULL DEFAULT '0',
  PRIMARY KEY (`id`)
);
CREATE INDEX `idx_wisps_assignee` ON `wisps` (`assignee`);
CREATE INDEX `idx_wisps_created_at` ON `wisps` (`created_at`);
CREATE INDEX `idx_wisps_defer_until` ON `wisps` (`defer_until`);
CREATE INDEX `idx_wisps_external_ref` ON `wisps` (`external_ref`);
CREATE INDEX `idx_wisps_is_blocked` ON `wisps` (`is_blocked`,`status`);
CREATE INDEX `idx_wisps_issue_type` ON `wisps` (`issue_type`);
CREATE INDEX `idx_wisps_priority` ON `wisps` (`priority`);
CREATE INDEX `idx_wisps_spec_id` ON `wisps` (`spec_id`);
CREATE INDEX `idx_wisps_status` ON `wisps` (`status`);

CREATE TABLE `wisp_dependencies` (
  `id` char(36) NOT NULL,
  `issue_id` varchar(255) NOT NULL,
  `depends_on_issue_id` varchar(255),
  `depends_on_wisp_id` varchar(255),
  `depends_on_external` varchar(255),
  `type` varchar(32) NOT NULL DEFAULT 'blocks',
  `created_at` datetime DEFAULT CURRENT_TIMESTAMP,
  `created_by` varchar(255) DEFAULT '',
  `metadata` json DEFAULT (json_object()),
  `thread_id` varchar(255) DEFAULT '',
  PRIMARY KEY (`id`),
  CONSTRAINT `fk_wisp_dep_issue` FOREIGN KEY (`issue_id`) REFERENCES `wisps` (`id`) ON DELETE CASCADE ON UPDATE CASCADE,
  CONSTRAINT `fk_wisp_dep_issue_target` FOREIGN KEY (`depends_on_issue_id`) REFERENCES `issues` (`id`) ON DELETE CASCADE ON UPDATE CASCADE,
  CONSTRAINT `fk_wisp_dep_wisp_target` FOREIGN KEY (`depends_on_wisp_id`) REFERENCES `wisps` (`id`) ON DELETE CASCADE ON UPDATE CASCADE,
  CONSTRAINT `ck_wisp_dep_one_target` CHECK (((((NOT(`depends_on_issue_id` IS NULL)) + (NOT(`depends_on_wisp_id` IS NULL))) + (NOT(`depends_on_external` IS NULL))) = 1))
);
CREATE INDEX `fk_wisp_dep_issue_target` ON `wisp_dependencies` (`depends_on_issue_id`);
CREATE INDEX `fk_wisp_dep_wisp_target` ON `wisp_dependencies` (`depends_on_wisp_id`);
CREATE INDEX `idx_wisp_dep_type` ON `wisp_dependencies` (`type`);
CREATE INDEX `idx_wisp_dep_type_external` ON `wisp_dependencies` (`type`,`depends_on_external`);
CREATE INDEX `idx_wisp_dep_type_issue` ON `wisp_dependencies` (`type`,`depends_on_issue_id`);
CREATE INDEX `idx_wisp_dep_type_wisp` ON `wisp_dependencies` (`type`,`depends_on_wisp_id`);
CREATE UNIQUE INDEX `uk_wisp_dep_external_target` ON `wisp_dependencies` (`issue_id`,`depends_on_external`);
CREATE UNIQUE INDEX `uk_wisp_dep_issue_target` ON `wisp_dependencies` (`issue_id`,`depends_on_issue_id`);
CREATE UNIQUE INDEX `uk_wisp_dep_wisp_target` ON `wisp_dependencies` (`issue_id`,`depends_on_wisp_id`);

CREATE TABLE `metadata` (
  `key` varchar(255) NOT NULL,
  `value` text NOT NULL,
  PRIMARY KEY (`key`)
);

CREATE TABLE `config` (
  `key` varchar(255) NOT NULL,
  `value` text NOT NULL,
  PRIMARY KEY (`key`)
);

CREATE TABLE `custom_statuses` (
  `name` varchar(64) NOT NULL,
  `category` varchar(32) NOT NULL DEFAULT 'unspecified',
  PRIMARY KEY (`name`)
);

CREATE TABLE `schema_migrations` (
  `version` int NOT NULL,
  `content_hash` char(64),
  PRIMARY KEY (`version`)
);
