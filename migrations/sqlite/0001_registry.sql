-- The log, and the views that are derived from it. Any view may be dropped and rebuilt by `artifactstore replay`.
-- Times are microseconds since 1970 UTC. Digests are raw bytes. Text compares bytewise, which is S3's order of keys.

CREATE TABLE events (
    sequence    INTEGER PRIMARY KEY,
    occurred_at INTEGER NOT NULL,
    kind        TEXT    NOT NULL,
    tenant      TEXT    NOT NULL,
    producer    TEXT,
    package     TEXT,
    actor       TEXT    NOT NULL,
    request_id  TEXT    NOT NULL,
    payload     BLOB    NOT NULL,
    hash        BLOB    NOT NULL
) STRICT;

-- One row: where the log ends. Read and advanced by every batch, so that sequences are gapless and in commit order.
CREATE TABLE log_head (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    sequence    INTEGER NOT NULL,
    occurred_at INTEGER NOT NULL,
    hash        BLOB    NOT NULL
) STRICT;

INSERT INTO log_head (one, sequence, occurred_at, hash) VALUES (1, 0, 0, zeroblob(32));

CREATE TABLE producers (
    name             TEXT    NOT NULL PRIMARY KEY,
    tenant           TEXT    NOT NULL,
    settings         BLOB    NOT NULL,
    created_at       INTEGER NOT NULL,
    created_sequence INTEGER NOT NULL,
    file_count       INTEGER NOT NULL,
    size_bytes       INTEGER NOT NULL,
    upload_count     INTEGER NOT NULL,
    package_count    INTEGER NOT NULL,
    finalized_count  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE packages (
    id                 TEXT    NOT NULL PRIMARY KEY,
    producer           TEXT    NOT NULL,
    name               TEXT    NOT NULL,
    revision           INTEGER NOT NULL,
    opened_at          INTEGER NOT NULL,
    opened_sequence    INTEGER NOT NULL,
    changed_at         INTEGER NOT NULL,
    last_sequence      INTEGER NOT NULL,
    file_count         INTEGER NOT NULL,
    size_bytes         INTEGER NOT NULL,
    finalized_at       INTEGER,
    finalized_sequence INTEGER,
    manifest_digest    BLOB,
    manifest_size      INTEGER
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX packages_by_name ON packages (producer, name, revision);
CREATE INDEX packages_open ON packages (producer, changed_at) WHERE finalized_at IS NULL;

CREATE TABLE names (
    producer TEXT    NOT NULL,
    key      TEXT    NOT NULL,
    package  TEXT    NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (producer, key)
) STRICT, WITHOUT ROWID;

-- Other packages are ranges of keys; the root package's keys lie scattered.
CREATE INDEX names_of_root ON names (producer, key) WHERE package = '';

CREATE TABLE files (
    sequence        INTEGER PRIMARY KEY,
    producer        TEXT    NOT NULL,
    key             TEXT    NOT NULL,
    package_id      TEXT    NOT NULL,
    package         TEXT    NOT NULL,
    relative_path   TEXT    NOT NULL,
    size_bytes      INTEGER NOT NULL,
    content_address BLOB    NOT NULL,
    sha256          BLOB    NOT NULL,
    etag            TEXT    NOT NULL,
    attributes      BLOB    NOT NULL,
    ingested_at     INTEGER NOT NULL,
    client          TEXT,
    ended_sequence  INTEGER
) STRICT;

CREATE TABLE blobs (
    content_address BLOB    NOT NULL PRIMARY KEY,
    sha256          BLOB    NOT NULL,
    size_bytes      INTEGER NOT NULL,
    recipe          BLOB    NOT NULL,
    sequence        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE chunks (
    address       BLOB    NOT NULL PRIMARY KEY,
    size_bytes    INTEGER NOT NULL,
    backend       TEXT    NOT NULL,
    object        BLOB    NOT NULL,
    offset_bytes  INTEGER NOT NULL,
    stored_length INTEGER NOT NULL,
    codec         TEXT    NOT NULL,
    tier          TEXT    NOT NULL,
    sequence      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A chunk stored alone has its object's name; only chunks in packs need another way back.
CREATE INDEX chunks_in_packs ON chunks (object) WHERE object <> address;

CREATE TABLE uploads (
    id                 TEXT    NOT NULL PRIMARY KEY,
    producer           TEXT    NOT NULL,
    key                TEXT    NOT NULL,
    attributes         BLOB    NOT NULL,
    created_at         INTEGER NOT NULL,
    sequence           INTEGER NOT NULL,
    parts_sequence     INTEGER NOT NULL,
    completed_sequence INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX uploads_open ON uploads (producer, key, id) WHERE completed_sequence IS NULL;

CREATE TABLE parts (
    upload      TEXT    NOT NULL,
    number      INTEGER NOT NULL,
    size_bytes  INTEGER NOT NULL,
    md5         BLOB    NOT NULL,
    checksum    BLOB,
    recipe      BLOB    NOT NULL,
    ingested_at INTEGER NOT NULL,
    sequence    INTEGER NOT NULL,
    PRIMARY KEY (upload, number)
) STRICT, WITHOUT ROWID;
