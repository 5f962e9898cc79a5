-- Who does the work that is done once for all gateways, and until when. Not a view and not in the log: nothing of it is about
-- what is stored. Times are milliseconds since 1970 by the database's own clock. A token only ever grows.

CREATE TABLE leases (
    work       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    token      BIGINT NOT NULL,
    holder     TEXT COLLATE "C" NOT NULL,
    expires_at BIGINT NOT NULL
) WITH (fillfactor = 50);
