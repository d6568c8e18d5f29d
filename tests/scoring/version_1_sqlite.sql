-- A database of schema version 1, as nightreel 0.1 wrote it, with three runs.
CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    PRIMARY KEY (version_num)
);
CREATE TABLE recommendation_run (
    run_id INTEGER NOT NULL,
    status VARCHAR(16) NOT NULL,
    as_of VARCHAR(32) NOT NULL,
    model_version TEXT NOT NULL,
    started_at VARCHAR(32) NOT NULL,
    published_at VARCHAR(32),
    users INTEGER,
    rows BIGINT,
    k INTEGER NOT NULL,
    error TEXT,
    inputs VARCHAR(64) NOT NULL,
    PRIMARY KEY (run_id),
    CONSTRAINT known_status CHECK (status IN ('running', 'published', 'failed')),
    CONSTRAINT k_from_1 CHECK (k >= 1)
);
CREATE TABLE published_run (
    slot INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    PRIMARY KEY (slot),
    CONSTRAINT one_row CHECK (slot = 1),
    FOREIGN KEY(run_id) REFERENCES recommendation_run (run_id)
);
CREATE TABLE recommendation (
    run_id INTEGER NOT NULL,
    user_id BIGINT NOT NULL,
    rank INTEGER NOT NULL,
    video_id BIGINT NOT NULL,
    score DOUBLE NOT NULL,
    classifier_score DOUBLE,
    regressor_score DOUBLE,
    als_score DOUBLE,
    source VARCHAR(32) NOT NULL,
    PRIMARY KEY (run_id, user_id, rank),
    CONSTRAINT rank_from_1 CHECK (rank >= 1),
    FOREIGN KEY(run_id) REFERENCES recommendation_run (run_id)
)
 WITHOUT ROWID;
CREATE VIEW latest_recommendation AS SELECT run_id, user_id, rank, video_id, score, classifier_score, regressor_score, als_score, source FROM recommendation WHERE run_id = (SELECT run_id FROM published_run);

INSERT INTO alembic_version (version_num) VALUES ('0001');
INSERT INTO recommendation_run (run_id, status, as_of, model_version, started_at, published_at, users, rows, k, error, inputs) VALUES
  (1, 'published', '2020-08-13T18:00:00.000000+00:00', '20200813-aaaa', '2020-08-13T18:00:01.000000+00:00', '2020-08-13T18:00:09.500000+00:00', 2, 4, 2, NULL, 'one'),
  (2, 'failed', '2020-08-14T18:00:00.000000+00:00', '20200813-aaaa', '2020-08-14T18:00:01.000000+00:00', NULL, NULL, NULL, 2, 'audit `full lists`: 1 users', 'two'),
  (3, 'published', '2020-08-15T18:00:00.000000+00:00', '20200815-bbbb', '2020-08-15T18:00:01.000000+00:00', '2020-08-15T18:00:09.250000+00:00', 2, 4, 2, NULL, 'three');
INSERT INTO recommendation (run_id, user_id, rank, video_id, score, classifier_score, regressor_score, als_score, source) VALUES
  (1, 7, 1, 101, 0.9, 0.8, 0.9, 0.1, 'hybrid'), (1, 7, 2, 102, 0.3, 0.7, 0.3, NULL, 'hybrid'),
  (1, 9, 1, 103, 0.5, NULL, NULL, NULL, 'popular'), (1, 9, 2, 101, 0.4, NULL, NULL, NULL, 'popular'),
  (3, 7, 1, 102, 0.1, 0.8, 0.1, -0.25, 'rewatch'), (3, 7, 2, 101, -0.3, 0.7, -0.3, 1e-300, 'rewatch'),
  (3, 9, 1, 103, 0.5, NULL, NULL, NULL, 'popular'), (3, 9, 2, 101, 0.4, NULL, NULL, NULL, 'popular');
INSERT INTO published_run (slot, run_id) VALUES (1, 3);
