BEGIN TRANSACTION;
CREATE TABLE epochs (
            run_id TEXT NOT NULL REFERENCES runs (id),
            epoch INTEGER NOT NULL,
            train_loss REAL NOT NULL,
            train_accuracy REAL NOT NULL,
            val_loss REAL,
            val_accuracy REAL, lr REAL, seconds REAL, samples INTEGER,
            PRIMARY KEY (run_id, epoch)) WITHOUT ROWID;
INSERT INTO "epochs" VALUES('r_11111111111111111111111111111111',1,2.5,0.125,2.25,0.25,0.1,0.5,54000);
INSERT INTO "epochs" VALUES('r_11111111111111111111111111111111',2,1.25,0.25,1.125,0.5,0.1,0.25,54000);
INSERT INTO "epochs" VALUES('r_22222222222222222222222222222222',1,2.5,0.125,2.25,0.25,0.1,0.5,54000);
INSERT INTO "epochs" VALUES('r_44444444444444444444444444444444',1,2.5,0.125,2.25,0.25,0.1,0.5,54000);
CREATE TABLE evaluations (
            param_id TEXT PRIMARY KEY REFERENCES parameter_sets (id),
            evaluation TEXT NOT NULL);
INSERT INTO "evaluations" VALUES('p_11111111111111111111111111111111','{"dataset":{"name":"mnist","checksum":"sha256:0000000000000000000000000000000000000000000000000000000000000000"},"loss":2.0,"accuracy":0.25,"confusion":[[100,100,100,100,100,100,100,100,100,100],[100,100,100,100,100,100,100,100,100,100],[100,100,100,100,100,100,100,100,100,100],[100,100,100,100,100,100,100,100,100,100],[100,100,100,100,100,100,100,100,100,100],[100,100,100,100,100,100,100,100,100,100],[100,100,100,100,100,100,100,100,100,100],[100,100,100,100,100,100,100,100,100,100],[100,100,100,100,100,100,100,100,100,100],[100,100,100,100,100,100,100,100,100,100]],"mistakes":[{"index":3,"label":0,"predicted":9,"confidence":0.75}]}');
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO "meta" VALUES('schema_version','10');
INSERT INTO "meta" VALUES('cursor_key','5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a');
CREATE TABLE models (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            architecture TEXT NOT NULL,
            hyperparams TEXT NOT NULL,
            created_at TEXT NOT NULL,
            idempotency_key TEXT UNIQUE,
            fingerprint TEXT);
INSERT INTO "models" VALUES(1,'m_11111111111111111111111111111111','{"input_size":784,"layers":[{"type":"linear","in":784,"out":10}]}','{"epochs":2,"batch_size":200,"optimizer":{"type":"sgd","lr":0.1,"momentum":0.0,"nesterov":false,"weight_decay":0.0},"schedule":{"type":"constant","warmup_epochs":0.0},"dropout":{"input":0.0,"hidden":0.0},"label_smoothing":0.0,"augmentation":null,"averaging":0.0,"loss":"cross_entropy","seed":1,"train_split":0.9,"shuffle":true,"early_stopping":null,"keep":"last"}','2024-01-01T00:00:01.000000Z','the model','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff');
CREATE TABLE parameter_sets (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            run_id TEXT UNIQUE REFERENCES runs (id),
            model_id TEXT NOT NULL REFERENCES models (id),
            size_bytes INTEGER NOT NULL,
            sha256 TEXT NOT NULL,
            created_at TEXT NOT NULL,
            idempotency_key TEXT UNIQUE,
            fingerprint TEXT);
INSERT INTO "parameter_sets" VALUES(1,'p_11111111111111111111111111111111','r_11111111111111111111111111111111','m_11111111111111111111111111111111',31552,'57aab028544fd91e81fdeb86c2b064e3cedb3e9472086999b21872dfa24d52ee','2024-01-01T00:00:31.000000Z',NULL,NULL);
INSERT INTO "parameter_sets" VALUES(2,'p_22222222222222222222222222222222',NULL,'m_11111111111111111111111111111111',31552,'57aab028544fd91e81fdeb86c2b064e3cedb3e9472086999b21872dfa24d52ee','2024-01-01T00:00:32.000000Z','the import','dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd');
CREATE TABLE runs (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            model_id TEXT NOT NULL REFERENCES models (id),
            state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
            hyperparams TEXT NOT NULL,
            created_at TEXT NOT NULL,
            started_at TEXT,
            finished_at TEXT,
            epoch INTEGER NOT NULL DEFAULT 0,
            dataset TEXT,
            error TEXT,
            owner TEXT,
            worker_losses INTEGER NOT NULL DEFAULT 0,
            idempotency_key TEXT,
            fingerprint TEXT, checkpoint TEXT, checkpointed_since_claim INTEGER NOT NULL DEFAULT 0, renewals INTEGER NOT NULL DEFAULT 0, drain INTEGER NOT NULL DEFAULT 0, isa TEXT, best_epoch INTEGER NOT NULL DEFAULT 0, start_from TEXT, param_id TEXT, finish INTEGER NOT NULL DEFAULT 0, best_accuracy_epoch INTEGER NOT NULL DEFAULT 0);
INSERT INTO "runs" VALUES(1,'r_11111111111111111111111111111111','m_11111111111111111111111111111111','succeeded','{"epochs":2,"batch_size":200,"optimizer":{"type":"sgd","lr":0.1,"momentum":0.0,"nesterov":false,"weight_decay":0.0},"schedule":{"type":"constant","warmup_epochs":0.0},"dropout":{"input":0.0,"hidden":0.0},"label_smoothing":0.0,"augmentation":null,"averaging":0.0,"loss":"cross_entropy","seed":1,"train_split":0.9,"shuffle":true,"early_stopping":null,"keep":"last"}','2024-01-01T00:00:11.000000Z','2024-01-01T00:00:21.000000Z','2024-01-01T00:00:31.000000Z',2,'{"name":"mnist","checksum":"sha256:0000000000000000000000000000000000000000000000000000000000000000"}',NULL,NULL,0,NULL,NULL,NULL,0,0,0,'avx2',2,NULL,'p_11111111111111111111111111111111',0,2);
INSERT INTO "runs" VALUES(2,'r_22222222222222222222222222222222','m_11111111111111111111111111111111','failed','{"epochs":2,"batch_size":200,"optimizer":{"type":"sgd","lr":0.1,"momentum":0.0,"nesterov":false,"weight_decay":0.0},"schedule":{"type":"constant","warmup_epochs":0.0},"dropout":{"input":0.0,"hidden":0.0},"label_smoothing":0.0,"augmentation":null,"averaging":0.0,"loss":"cross_entropy","seed":1,"train_split":0.9,"shuffle":true,"early_stopping":null,"keep":"last"}','2024-01-01T00:00:12.000000Z','2024-01-01T00:00:22.000000Z','2024-01-01T00:00:32.000000Z',1,'{"name":"mnist","checksum":"sha256:0000000000000000000000000000000000000000000000000000000000000000"}','{"code":"diverged","message":"The loss is not a finite number any more."}',NULL,1,NULL,NULL,NULL,0,0,0,'avx2',1,'p_11111111111111111111111111111111',NULL,0,1);
INSERT INTO "runs" VALUES(3,'r_33333333333333333333333333333333','m_11111111111111111111111111111111','cancelled','{"epochs":2,"batch_size":200,"optimizer":{"type":"sgd","lr":0.1,"momentum":0.0,"nesterov":false,"weight_decay":0.0},"schedule":{"type":"constant","warmup_epochs":0.0},"dropout":{"input":0.0,"hidden":0.0},"label_smoothing":0.0,"augmentation":null,"averaging":0.0,"loss":"cross_entropy","seed":1,"train_split":0.9,"shuffle":true,"early_stopping":null,"keep":"last"}','2024-01-01T00:00:13.000000Z','2024-01-01T00:00:23.000000Z','2024-01-01T00:00:33.000000Z',0,NULL,NULL,NULL,0,NULL,NULL,NULL,0,0,0,NULL,0,NULL,NULL,0,0);
INSERT INTO "runs" VALUES(4,'r_44444444444444444444444444444444','m_11111111111111111111111111111111','running','{"epochs":2,"batch_size":200,"optimizer":{"type":"sgd","lr":0.1,"momentum":0.0,"nesterov":false,"weight_decay":0.0},"schedule":{"type":"constant","warmup_epochs":0.0},"dropout":{"input":0.0,"hidden":0.0},"label_smoothing":0.0,"augmentation":null,"averaging":0.0,"loss":"cross_entropy","seed":1,"train_split":0.9,"shuffle":true,"early_stopping":null,"keep":"last"}','2024-01-01T00:00:14.000000Z','2024-01-01T00:00:24.000000Z',NULL,1,'{"name":"mnist","checksum":"sha256:0000000000000000000000000000000000000000000000000000000000000000"}',NULL,'a worker that is gone',0,NULL,NULL,NULL,1,3,0,'baseline',0,NULL,NULL,0,1);
INSERT INTO "runs" VALUES(5,'r_55555555555555555555555555555555','m_11111111111111111111111111111111','queued','{"epochs":2,"batch_size":200,"optimizer":{"type":"sgd","lr":0.1,"momentum":0.0,"nesterov":false,"weight_decay":0.0},"schedule":{"type":"constant","warmup_epochs":0.0},"dropout":{"input":0.0,"hidden":0.0},"label_smoothing":0.0,"augmentation":null,"averaging":0.0,"loss":"cross_entropy","seed":1,"train_split":0.9,"shuffle":true,"early_stopping":null,"keep":"last"}','2024-01-01T00:00:15.000000Z',NULL,NULL,0,NULL,NULL,NULL,0,'the queued run','eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee',NULL,0,0,0,NULL,0,NULL,NULL,0,0);
CREATE INDEX runs_by_state ON runs (state, number);
CREATE INDEX runs_by_model ON runs (model_id, number);
CREATE UNIQUE INDEX runs_by_key ON runs (model_id, idempotency_key);
CREATE INDEX parameter_sets_by_model ON parameter_sets (model_id, number);
CREATE INDEX runs_by_model_and_state ON runs (model_id, state, number);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('models',1);
INSERT INTO "sqlite_sequence" VALUES('runs',5);
INSERT INTO "sqlite_sequence" VALUES('parameter_sets',2);
COMMIT;
