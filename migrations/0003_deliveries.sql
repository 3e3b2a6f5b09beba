-- What forges have told by themselves. A delivery is here before the forge is told that it was taken; what was
-- delivered twice is here once. Old ones go: see `KEPT` and `KEPT_OPEN` in the code.

CREATE TABLE deliveries (
    -- The order of arrival.
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    repository  TEXT    NOT NULL,
    -- The forge's id of it.
    id          TEXT    NOT NULL,
    -- SHA-256 of its body: most forges do not sign the id, so that a copy could come with another.
    digest      BLOB    NOT NULL,
    kind        TEXT    NOT NULL,
    -- The event, as JSON.
    event       TEXT    NOT NULL,
    received_at INTEGER NOT NULL,
    done_at     INTEGER,
    UNIQUE (repository, id),
    UNIQUE (repository, digest)
) STRICT;
CREATE INDEX deliveries_open ON deliveries (repository, kind, number) WHERE done_at IS NULL;
CREATE INDEX deliveries_by_age ON deliveries (received_at);
