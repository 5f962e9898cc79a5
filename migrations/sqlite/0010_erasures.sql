-- Versions whose bytes were erased because somebody demanded it.
CREATE TABLE erasures (
    version         INTEGER NOT NULL PRIMARY KEY,
    sequence        INTEGER NOT NULL,
    erased_at       INTEGER NOT NULL,
    content_address BLOB NOT NULL,
    actor           TEXT NOT NULL,
    reason          TEXT NOT NULL
) STRICT;

-- What is erased of a blob.
CREATE INDEX erasures_by_content ON erasures (content_address);
