-- A view like the others: where bytes are written to, and which backend serves what another was given.
CREATE TABLE storage_moves (
    sequence        BIGINT NOT NULL PRIMARY KEY,
    from_backend    TEXT COLLATE "C" NOT NULL,
    to_backend      TEXT COLLATE "C" NOT NULL,
    closed_sequence BIGINT,
    ended_sequence  BIGINT
);
