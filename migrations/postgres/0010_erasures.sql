-- Versions whose bytes were erased because somebody demanded it.
CREATE TABLE erasures (
    version         BIGINT NOT NULL PRIMARY KEY,
    sequence        BIGINT NOT NULL,
    erased_at       BIGINT NOT NULL,
    content_address BYTEA NOT NULL,
    actor           TEXT COLLATE "C" NOT NULL,
    reason          TEXT COLLATE "C" NOT NULL
);

-- What is erased of a blob.
CREATE INDEX erasures_by_content ON erasures (content_address);
