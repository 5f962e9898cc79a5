-- The log, and the views that are derived from it. Any view may be dropped and rebuilt by `artifactstore replay`.
-- Times are microseconds since 1970 UTC. Digests are raw bytes. Text compares bytewise ("C"), which is S3's order of keys,
-- whatever the database's own collation is.

-- Partitions are made by the gateways, each of ten million events, before the batch that needs them.
CREATE TABLE events (
    sequence    BIGINT PRIMARY KEY,
    occurred_at BIGINT NOT NULL,
    kind        TEXT COLLATE "C" NOT NULL,
    tenant      TEXT COLLATE "C" NOT NULL,
    producer    TEXT COLLATE "C",
    package     TEXT COLLATE "C",
    actor       TEXT COLLATE "C" NOT NULL,
    request_id  TEXT COLLATE "C" NOT NULL,
    payload     BYTEA  NOT NULL,
    hash        BYTEA  NOT NULL
) PARTITION BY RANGE (sequence);

-- One row: where the log ends. Locked and advanced by every batch, so that sequences are gapless and in commit order. Its
-- page is mostly empty, so that the next version of the row finds room beside the one before.
CREATE TABLE log_head (
    one         BIGINT PRIMARY KEY CHECK (one = 1),
    sequence    BIGINT NOT NULL,
    occurred_at BIGINT NOT NULL,
    hash        BYTEA  NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

INSERT INTO log_head (one, sequence, occurred_at, hash) VALUES (1, 0, 0, decode(repeat('00', 32), 'hex'));

CREATE TABLE producers (
    name             TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant           TEXT COLLATE "C" NOT NULL,
    settings         BYTEA  NOT NULL,
    created_at       BIGINT NOT NULL,
    created_sequence BIGINT NOT NULL,
    file_count       BIGINT NOT NULL,
    size_bytes       BIGINT NOT NULL,
    upload_count     BIGINT NOT NULL,
    package_count    BIGINT NOT NULL,
    finalized_count  BIGINT NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE packages (
    id                 TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    producer           TEXT COLLATE "C" NOT NULL,
    name               TEXT COLLATE "C" NOT NULL,
    revision           BIGINT NOT NULL,
    opened_at          BIGINT NOT NULL,
    opened_sequence    BIGINT NOT NULL,
    changed_at         BIGINT NOT NULL,
    last_sequence      BIGINT NOT NULL,
    file_count         BIGINT NOT NULL,
    size_bytes         BIGINT NOT NULL,
    finalized_at       BIGINT,
    finalized_sequence BIGINT,
    manifest_digest    BYTEA,
    manifest_size      BIGINT
);

CREATE UNIQUE INDEX packages_by_name ON packages (producer, name, revision);
CREATE INDEX packages_open ON packages (producer, changed_at) WHERE finalized_at IS NULL;

CREATE TABLE names (
    producer TEXT COLLATE "C" NOT NULL,
    key      TEXT COLLATE "C" NOT NULL,
    package  TEXT COLLATE "C" NOT NULL,
    sequence BIGINT NOT NULL,
    PRIMARY KEY (producer, key)
);

-- Other packages are ranges of keys; the root package's keys lie scattered.
CREATE INDEX names_of_root ON names (producer, key) WHERE package = '';

CREATE TABLE files (
    sequence        BIGINT PRIMARY KEY,
    producer        TEXT COLLATE "C" NOT NULL,
    key             TEXT COLLATE "C" NOT NULL,
    package_id      TEXT COLLATE "C" NOT NULL,
    package         TEXT COLLATE "C" NOT NULL,
    relative_path   TEXT COLLATE "C" NOT NULL,
    size_bytes      BIGINT NOT NULL,
    content_address BYTEA  NOT NULL,
    sha256          BYTEA  NOT NULL,
    etag            TEXT COLLATE "C" NOT NULL,
    attributes      BYTEA  NOT NULL,
    ingested_at     BIGINT NOT NULL,
    client          TEXT COLLATE "C",
    ended_sequence  BIGINT
);

CREATE TABLE blobs (
    content_address BYTEA  NOT NULL PRIMARY KEY,
    sha256          BYTEA  NOT NULL,
    size_bytes      BIGINT NOT NULL,
    recipe          BYTEA  NOT NULL,
    sequence        BIGINT NOT NULL
);

CREATE TABLE chunks (
    address       BYTEA  NOT NULL PRIMARY KEY,
    size_bytes    BIGINT NOT NULL,
    backend       TEXT COLLATE "C" NOT NULL,
    object        BYTEA  NOT NULL,
    offset_bytes  BIGINT NOT NULL,
    stored_length BIGINT NOT NULL,
    codec         TEXT COLLATE "C" NOT NULL,
    tier          TEXT COLLATE "C" NOT NULL,
    sequence      BIGINT NOT NULL
);

-- A chunk stored alone has its object's name; only chunks in packs need another way back.
CREATE INDEX chunks_in_packs ON chunks (object) WHERE object <> address;

CREATE TABLE uploads (
    id                 TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    producer           TEXT COLLATE "C" NOT NULL,
    key                TEXT COLLATE "C" NOT NULL,
    attributes         BYTEA  NOT NULL,
    created_at         BIGINT NOT NULL,
    sequence           BIGINT NOT NULL,
    parts_sequence     BIGINT NOT NULL,
    completed_sequence BIGINT
);

CREATE INDEX uploads_open ON uploads (producer, key, id) WHERE completed_sequence IS NULL;

CREATE TABLE parts (
    upload      TEXT COLLATE "C" NOT NULL,
    number      BIGINT NOT NULL,
    size_bytes  BIGINT NOT NULL,
    md5         BYTEA  NOT NULL,
    checksum    BYTEA,
    recipe      BYTEA  NOT NULL,
    ingested_at BIGINT NOT NULL,
    sequence    BIGINT NOT NULL,
    PRIMARY KEY (upload, number)
);
