-- A view like the others: where bytes are written to, and which backend serves what another was given.
CREATE TABLE storage_moves (
    sequence        INTEGER PRIMARY KEY,
    from_backend    TEXT    NOT NULL,
    to_backend      TEXT    NOT NULL,
    closed_sequence INTEGER,
    ended_sequence  INTEGER
) STRICT;
