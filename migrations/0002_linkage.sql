-- What the files of published packages need and have by soname: what rebuilds follow from. One row for each
-- published file; what is not published any more is not here.

CREATE TABLE linkage (
    repository  TEXT    NOT NULL,
    -- The name of the package file, which names package, version and architecture.
    file        TEXT    NOT NULL,
    -- Its checksum: what was read of another file of the same name says nothing.
    sha256      TEXT    NOT NULL,
    pkgbase     TEXT    NOT NULL,
    version     TEXT    NOT NULL,
    -- Sonames as makepkg writes them (`lib:libfoo.so.1`), separated by spaces.
    needs       TEXT    NOT NULL,
    provides    TEXT    NOT NULL,
    recorded_at INTEGER NOT NULL,
    PRIMARY KEY (repository, file)
) STRICT, WITHOUT ROWID;
CREATE INDEX linkage_of_package ON linkage (repository, pkgbase);
