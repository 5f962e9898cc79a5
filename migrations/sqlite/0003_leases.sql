-- Who does the work that is done once for all gateways, and until when. Not a view and not in the log: nothing of it is about
-- what is stored. Times are milliseconds since 1970 by the database's own clock. A token only ever grows.

CREATE TABLE leases (
    work       TEXT    NOT NULL PRIMARY KEY,
    token      INTEGER NOT NULL,
    holder     TEXT    NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
