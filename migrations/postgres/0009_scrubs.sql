-- Everything is read again now and then, and what is not as it was stored is known by name.

-- The event that said that a chunk is not there as it was stored, while that is so.
ALTER TABLE chunks ADD COLUMN damaged_sequence BIGINT;

CREATE INDEX chunks_damaged ON chunks (object) WHERE damaged_sequence IS NOT NULL;

-- From bytes to the files and the manifests that they belong to.
CREATE INDEX files_by_content ON files (content_address, sequence);
CREATE INDEX packages_by_manifest ON packages (manifest_digest) WHERE manifest_digest IS NOT NULL;

-- Passes over all objects.
CREATE TABLE scrub_passes (
    sequence       BIGINT NOT NULL PRIMARY KEY,
    begun_at       BIGINT NOT NULL,
    cursor         BYTEA,
    objects        BIGINT NOT NULL,
    bytes          BIGINT NOT NULL,
    damaged        BIGINT NOT NULL,
    ended_sequence BIGINT,
    ended_at       BIGINT
);

-- Objects in which bytes are not what was stored.
CREATE TABLE damaged_objects (
    object   BYTEA NOT NULL PRIMARY KEY,
    backend  TEXT COLLATE "C" NOT NULL,
    finding  TEXT COLLATE "C" NOT NULL,
    sequence BIGINT NOT NULL,
    seen_at  BIGINT NOT NULL
);
