-- What S3 shows of a key besides the file that has its name: versions that were superseded while the bucket's versioning
-- was on, and delete markers. A bucket that was never versioned has no row here. `versioned` is 0 for what S3 calls the
-- null version, of which a key has at most one. The order is that of S3's listing: newest first.

CREATE TABLE history (
    producer    TEXT COLLATE "C" NOT NULL,
    key         TEXT COLLATE "C" NOT NULL,
    sequence    BIGINT NOT NULL,
    marker      BIGINT NOT NULL,
    versioned   BIGINT NOT NULL,
    occurred_at BIGINT NOT NULL,
    PRIMARY KEY (producer, key, sequence)
);

CREATE INDEX history_newest ON history (producer, key, sequence DESC);
CREATE INDEX history_null ON history (producer, key) WHERE versioned = 0;

-- A bucket's configurations: what was put under a subresource, as text.
CREATE TABLE subresources (
    producer TEXT COLLATE "C" NOT NULL,
    name     TEXT COLLATE "C" NOT NULL,
    document TEXT COLLATE "C" NOT NULL,
    sequence BIGINT NOT NULL,
    PRIMARY KEY (producer, name)
);

ALTER TABLE producers ADD COLUMN versioning TEXT COLLATE "C" NOT NULL DEFAULT 'off';
ALTER TABLE producers ADD COLUMN history_count BIGINT NOT NULL DEFAULT 0;

-- Whether the version was made while versioning was on, and the event that deleted it from S3's sight by its version id.
ALTER TABLE files ADD COLUMN versioned BIGINT NOT NULL DEFAULT 0;
ALTER TABLE files ADD COLUMN deleted_sequence BIGINT;
