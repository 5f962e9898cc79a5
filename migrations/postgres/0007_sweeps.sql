-- What nothing keeps is found, condemned and swept. Counts and uses are views like the others.

-- The event by which a version let go of its bytes.
ALTER TABLE files ADD COLUMN released_sequence BIGINT;

CREATE INDEX files_ended ON files (sequence) WHERE ended_sequence IS NOT NULL AND released_sequence IS NULL;

-- How many versions that were not released, and stored manifests, refer to a blob; which event took the last reference
-- away; and since when it is condemned.
ALTER TABLE blobs ADD COLUMN reference_count BIGINT NOT NULL DEFAULT 0;
ALTER TABLE blobs ADD COLUMN released_sequence BIGINT;
ALTER TABLE blobs ADD COLUMN condemned_sequence BIGINT;
ALTER TABLE blobs ADD COLUMN condemned_at BIGINT;

-- A manifest is stored where the event of its seal is not the manifest itself.
UPDATE blobs SET reference_count = g.total FROM (
    SELECT address, sum(count)::int8 AS total FROM (
        SELECT content_address AS address, count(*) AS count FROM files GROUP BY content_address
        UNION ALL
        SELECT p.manifest_digest, count(*) FROM packages AS p JOIN events AS e ON e.sequence = p.finalized_sequence
        WHERE length(e.payload) <> p.manifest_size GROUP BY p.manifest_digest
    ) AS named GROUP BY address
) AS g WHERE blobs.content_address = g.address;

-- A gateway of an older version that still runs counts nothing: what it would write is refused.
ALTER TABLE blobs ALTER COLUMN reference_count DROP DEFAULT;

CREATE INDEX blobs_unreferenced ON blobs (content_address) WHERE reference_count = 0;

ALTER TABLE chunks ADD COLUMN condemned_sequence BIGINT;
ALTER TABLE chunks ADD COLUMN condemned_at BIGINT;

CREATE INDEX chunks_condemned ON chunks (address) WHERE condemned_sequence IS NOT NULL;

-- Which blobs of several chunks use a chunk. A blob of one chunk has the chunk's address.
CREATE TABLE blob_chunks (
    chunk BYTEA NOT NULL,
    blob  BYTEA NOT NULL,
    PRIMARY KEY (chunk, blob)
);

-- Which parts of open uploads use a chunk.
CREATE TABLE part_chunks (
    upload TEXT COLLATE "C" NOT NULL,
    number BIGINT NOT NULL,
    chunk  BYTEA  NOT NULL,
    PRIMARY KEY (upload, number, chunk)
);

CREATE INDEX part_chunks_by_chunk ON part_chunks (chunk);

-- Objects that were swept. Their names are never given again.
CREATE TABLE swept_objects (
    object         BYTEA  NOT NULL PRIMARY KEY,
    backend        TEXT COLLATE "C" NOT NULL,
    begun_sequence BIGINT NOT NULL,
    ended_sequence BIGINT
);

CREATE INDEX swept_objects_open ON swept_objects (object) WHERE ended_sequence IS NULL;
CREATE INDEX swept_objects_by_event ON swept_objects (begun_sequence);

-- Objects that no event named when they were found.
CREATE TABLE orphan_objects (
    object     BYTEA  NOT NULL PRIMARY KEY,
    backend    TEXT COLLATE "C" NOT NULL,
    size_bytes BIGINT NOT NULL,
    sequence   BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL
);

-- The uses of chunks stand in recipes, which SQL does not read: the program fills them in, and then drops this.
CREATE TABLE uses_unread (one BIGINT PRIMARY KEY);
