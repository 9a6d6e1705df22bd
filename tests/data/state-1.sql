-- What an interlockd of schema 1 left (PRAGMA user_version): two runs, a skip, an ended deployment, and a start of
-- work.service that was submitted inside t.service, in a boot that is over.
BEGIN TRANSACTION;
CREATE TABLE deadlocks (
             id INTEGER PRIMARY KEY, found INTEGER NOT NULL, kind TEXT NOT NULL, unit TEXT NOT NULL,
             resource TEXT NOT NULL, state TEXT NOT NULL, text TEXT NOT NULL, waiters TEXT NOT NULL) STRICT;
CREATE TABLE deployments (
             id TEXT PRIMARY KEY, since INTEGER NOT NULL, live INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
INSERT INTO "deployments" VALUES('g-1',1795354723331489,0,'{"id":"g-1","group":"g","reason":"release 7","owner":{"name":"root (uid 0), interlockctl (pid 246)","uid":0},"stage":"over","failure":null,"depooled":false,"refused":false,"ended_by":null,"since":1795354723331489,"ready_since":1795354723332850,"ended":1795354723385165,"expires":1795355323331489,"grace":0,"max_wait":600000000,"boot":"733da3b7-7a9f-4103-8025-7bb73c07adc6","grace_until":24965255159,"deadline":25565255159,"watch_until":25565307474,"before_settle":[],"after_resume":[],"hook_timeout":300000000,"members":{}}');
CREATE TABLE interruptions (
             unit TEXT NOT NULL, deployment TEXT NOT NULL, at INTEGER NOT NULL,
             PRIMARY KEY (unit, deployment)) STRICT;
CREATE TABLE numbers (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
INSERT INTO "numbers" VALUES('deployment',1);
CREATE TABLE runs (
             id INTEGER PRIMARY KEY, task TEXT NOT NULL, unit TEXT NOT NULL,
             asked INTEGER NOT NULL, granted INTEGER NOT NULL, ended INTEGER NOT NULL) STRICT;
INSERT INTO "runs" VALUES(1,'t0-a','a.service',1795354722894127,1795354722894141,1795354722960644);
INSERT INTO "runs" VALUES(2,'t0-a','a.service',1795354723171237,1795354723171253,1795354723312017);
CREATE TABLE skips (
             id INTEGER PRIMARY KEY, task TEXT NOT NULL, unit TEXT NOT NULL,
             reason TEXT NOT NULL, at INTEGER NOT NULL) STRICT;
INSERT INTO "skips" VALUES(1,'b','b.service','r is held by a.service, and its policy says when-busy = "skip"',1795354723291404);
CREATE TABLE stale (
             unit TEXT PRIMARY KEY, invocation TEXT NOT NULL, deployment TEXT NOT NULL) STRICT;
CREATE TABLE submissions (
             id INTEGER PRIMARY KEY AUTOINCREMENT, unit TEXT NOT NULL, by TEXT NOT NULL, at INTEGER NOT NULL,
             after_unit TEXT NOT NULL, after_pid INTEGER NOT NULL, after_start INTEGER NOT NULL,
             boot TEXT NOT NULL, starting INTEGER NOT NULL,
             UNIQUE (unit, after_unit, after_pid, after_start, boot, starting)) STRICT;
INSERT INTO "submissions" VALUES(1,'work.service','root (uid 0), interlockctl (pid 229)',1795354723085636,'t.service',0,0,'733da3b7-7a9f-4103-8025-7bb73c07adc6',0);
CREATE INDEX runs_of_unit ON runs (unit, ended);
CREATE INDEX skips_of_unit ON skips (unit, at);
CREATE INDEX deadlocks_of_unit ON deadlocks (unit, found);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('submissions',1);
COMMIT;
PRAGMA user_version = 1;
