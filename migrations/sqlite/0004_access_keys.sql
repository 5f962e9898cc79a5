-- Access keys besides the root's: whose each is, and what it may do. The secret is sealed by whoever made the key.

CREATE TABLE access_keys (
    id               TEXT    NOT NULL PRIMARY KEY,
    tenant           TEXT    NOT NULL,
    grants           BLOB    NOT NULL,
    sealed           BLOB    NOT NULL,
    created_at       INTEGER NOT NULL,
    created_sequence INTEGER NOT NULL,
    changed_sequence INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
