-- Access keys besides the root's: whose each is, and what it may do. The secret is sealed by whoever made the key.

CREATE TABLE access_keys (
    id               TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant           TEXT COLLATE "C" NOT NULL,
    grants           BYTEA  NOT NULL,
    sealed           BYTEA  NOT NULL,
    created_at       BIGINT NOT NULL,
    created_sequence BIGINT NOT NULL,
    changed_sequence BIGINT NOT NULL
);
