-- Why things are kept. Classes are a view like the others; the five that are there from the beginning have no event.

CREATE TABLE retention_classes (
    name         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    mode         TEXT COLLATE "C" NOT NULL,
    period_unit  TEXT COLLATE "C" NOT NULL,
    period_count BIGINT NOT NULL,
    starts       TEXT COLLATE "C" NOT NULL,
    afterwards   TEXT COLLATE "C" NOT NULL,
    may_shorten  BIGINT NOT NULL,
    description  TEXT COLLATE "C" NOT NULL,
    sequence     BIGINT NOT NULL
);

INSERT INTO retention_classes VALUES
    ('transient', 'none', 'days', 30, 'ingest', 'delete', 0,
     'Scratch and debug output: deleted thirty days after it came.', 0),
    ('working', 'none', 'days', 365, 'ingest', 'eligible', 0,
     'Work in progress: what was replaced or removed can be had back for a year.', 0),
    ('project-record', 'governance', 'years', 3, 'finalize', 'eligible', 1,
     'The record of a project or a release: three years from its seal.', 0),
    ('regulated-record', 'compliance', 'years', 10, 'finalize', 'eligible', 0,
     'Evidence that a regulator may ask for: ten years from its seal.', 0),
    ('permanent', 'compliance', 'forever', 0, 'ingest', 'keep', 0,
     'Archival: kept without an end, from the moment it came.', 0);

-- Moments at which the clock went further than time did. Nothing expires behind one that nobody has settled.
CREATE TABLE clock_jumps (
    sequence         BIGINT NOT NULL PRIMARY KEY,
    from_time        BIGINT NOT NULL,
    to_time          BIGINT NOT NULL,
    settled_sequence BIGINT,
    genuine          BIGINT NOT NULL
);

-- What keeps each of them by itself: lock, holds, classes, as CBOR; nothing for most.
ALTER TABLE producers ADD COLUMN object_lock BIGINT NOT NULL DEFAULT 0;
ALTER TABLE producers ADD COLUMN keeping BYTEA;
ALTER TABLE packages ADD COLUMN keeping BYTEA;
ALTER TABLE packages ADD COLUMN released_sequence BIGINT;
ALTER TABLE files ADD COLUMN keeping BYTEA;

CREATE INDEX files_kept ON files (sequence) WHERE keeping IS NOT NULL;
CREATE INDEX packages_kept ON packages (id) WHERE keeping IS NOT NULL;
