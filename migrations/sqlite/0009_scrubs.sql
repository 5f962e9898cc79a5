-- Everything is read again now and then, and what is not as it was stored is known by name.

-- The event that said that a chunk is not there as it was stored, while that is so.
ALTER TABLE chunks ADD COLUMN damaged_sequence INTEGER;

CREATE INDEX chunks_damaged ON chunks (object) WHERE damaged_sequence IS NOT NULL;

-- From bytes to the files and the manifests that they belong to.
CREATE INDEX files_by_content ON files (content_address);
CREATE INDEX packages_by_manifest ON packages (manifest_digest) WHERE manifest_digest IS NOT NULL;

-- Passes over all objects.
CREATE TABLE scrub_passes (
    sequence       INTEGER NOT NULL PRIMARY KEY,
    begun_at       INTEGER NOT NULL,
    cursor         BLOB,
    objects        INTEGER NOT NULL,
    bytes          INTEGER NOT NULL,
    damaged        INTEGER NOT NULL,
    ended_sequence INTEGER,
    ended_at       INTEGER
) STRICT;

-- Objects in which bytes are not what was stored.
CREATE TABLE damaged_objects (
    object   BLOB NOT NULL PRIMARY KEY,
    backend  TEXT NOT NULL,
    finding  TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    seen_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
