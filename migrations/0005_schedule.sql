-- What builds are handed out by: how urgent they are, and how long what waits for them takes.

-- The place of its lane, 0 is the most urgent. One that somebody more urgent waits for has the place of that one.
ALTER TABLE builds ADD COLUMN lane INTEGER NOT NULL DEFAULT 2 CHECK (lane BETWEEN 0 AND 3);
-- The longest chain of builds of its wave that begins with it, in milliseconds.
ALTER TABLE builds ADD COLUMN path INTEGER NOT NULL DEFAULT 0;
-- The class again, with a word for none: what has none can be looked for, too.
ALTER TABLE builds ADD COLUMN wish TEXT GENERATED ALWAYS AS (coalesce(class, '')) VIRTUAL;

-- The first builds of each flow are found without reading the others.
CREATE INDEX ready_by_age ON builds (repository, lane, wish, id)
    WHERE state = 'ready' AND not_before IS NULL;
CREATE INDEX ready_by_path ON builds (repository, lane, wish, path DESC, id)
    WHERE state = 'ready' AND not_before IS NULL;
CREATE INDEX ready_later ON builds (not_before) WHERE state = 'ready' AND not_before IS NOT NULL;

-- How long packages take to build, in milliseconds: of what succeeded, newer builds counting more.
CREATE TABLE durations (
    repository TEXT    NOT NULL,
    arch       TEXT    NOT NULL,
    pkgbase    TEXT    NOT NULL,
    millis     INTEGER NOT NULL,
    PRIMARY KEY (repository, arch, pkgbase)
) STRICT, WITHOUT ROWID;
INSERT INTO durations (repository, arch, pkgbase, millis)
    SELECT repository, arch, pkgbase, max(finished_at - started_at, 0) FROM builds WHERE id IN
        (SELECT max(id) FROM builds WHERE state = 'succeeded' AND started_at IS NOT NULL AND finished_at IS NOT NULL
         GROUP BY repository, arch, pkgbase);
