-- The record: runs, what they meant to do, and the builds that came of it.
-- Times are milliseconds since the epoch, UTC. Words are those of the program's own enums.

CREATE TABLE runs (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT    NOT NULL UNIQUE,
    repository  TEXT    NOT NULL,
    pipeline    TEXT    NOT NULL,
    -- Who or what started it, for people.
    cause       TEXT    NOT NULL,
    started_at  INTEGER NOT NULL,
    finished_at INTEGER,
    outcome     TEXT,
    -- The plan with its outcome, as JSON.
    document    TEXT
) STRICT;
CREATE INDEX runs_of_repository ON runs (repository, seq);

-- What a run is about to push, and what follows from it. Written before the push.
CREATE TABLE intents (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id      TEXT    NOT NULL REFERENCES runs (id),
    repository  TEXT    NOT NULL,
    status      TEXT    NOT NULL CHECK (status IN ('open', 'done', 'dropped')),
    body        TEXT    NOT NULL,
    recorded_at INTEGER NOT NULL,
    settled_at  INTEGER
) STRICT;
CREATE INDEX open_intents ON intents (id) WHERE status = 'open';

-- One wave per run: what makes enqueueing happen exactly once.
CREATE TABLE waves (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id      TEXT    NOT NULL UNIQUE REFERENCES runs (id),
    repository  TEXT    NOT NULL,
    commit_id   TEXT    NOT NULL,
    enqueued_at INTEGER NOT NULL,
    -- What became of each request, as JSON.
    answer      TEXT    NOT NULL
) STRICT;

CREATE TABLE builds (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    wave         INTEGER NOT NULL REFERENCES waves (id),
    repository   TEXT    NOT NULL,
    arch         TEXT    NOT NULL,
    pkgbase      TEXT    NOT NULL,
    commit_id    TEXT    NOT NULL,
    class        TEXT,
    reason       TEXT    NOT NULL,
    state        TEXT    NOT NULL CHECK (state IN
        ('waiting', 'blocked', 'ready', 'dispatched', 'running', 'succeeded', 'failed', 'timed_out',
         'cancelled', 'superseded', 'already_built', 'skipped', 'lost')),
    -- Came while another build was running and was promised its turn.
    queued       INTEGER NOT NULL DEFAULT 0,
    -- The build of the same package that has to end first.
    behind       INTEGER REFERENCES builds (id),
    replaced_by  INTEGER REFERENCES builds (id),
    -- Asked of a build that is underway: the state to end in, 'cancelled' or 'superseded'.
    stop         TEXT    CHECK (stop IN ('cancelled', 'superseded')),
    -- Since it was asked for, or since somebody asked for another try.
    attempts     INTEGER NOT NULL DEFAULT 0,
    not_before   INTEGER,
    exit_code    INTEGER,
    message      TEXT,
    requested_at INTEGER NOT NULL,
    changed_at   INTEGER NOT NULL,
    started_at   INTEGER,
    finished_at  INTEGER
) STRICT;
-- At most one live build per package.
CREATE UNIQUE INDEX one_live_build ON builds (repository, arch, pkgbase)
    WHERE behind IS NULL AND state IN ('waiting', 'blocked', 'ready', 'dispatched', 'running');
-- A line, not a crowd.
CREATE UNIQUE INDEX one_behind_each ON builds (behind) WHERE behind IS NOT NULL;
CREATE INDEX live_builds ON builds (repository, id)
    WHERE state IN ('waiting', 'blocked', 'ready', 'dispatched', 'running');
CREATE INDEX builds_of_package ON builds (repository, pkgbase, id);
CREATE INDEX builds_by_state ON builds (state, id);
CREATE INDEX builds_of_wave ON builds (wave);

-- Which build waits for which.
CREATE TABLE waits (
    build      INTEGER NOT NULL REFERENCES builds (id),
    dependency INTEGER NOT NULL REFERENCES builds (id),
    kind       TEXT    NOT NULL CHECK (kind IN ('after', 'needs')),
    -- It was meant for an earlier build of that package.
    moved      INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (build, dependency)
) STRICT, WITHOUT ROWID;
CREATE INDEX waits_on ON waits (dependency);

CREATE TABLE attempts (
    id         TEXT    PRIMARY KEY,
    build      INTEGER NOT NULL REFERENCES builds (id),
    number     INTEGER NOT NULL,
    executor   TEXT    NOT NULL,
    -- What the executor needs to find it again, as JSON.
    handle     TEXT,
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    ended_at   INTEGER,
    -- An outcome, or 'infrastructure'.
    ending     TEXT,
    exit_code  INTEGER,
    message    TEXT,
    -- The final length of its log in bytes.
    log_length INTEGER,
    UNIQUE (build, number)
) STRICT;
CREATE INDEX open_attempts ON attempts (build) WHERE ended_at IS NULL;

-- Packages that left the monorepo and have to leave the published repository.
CREATE TABLE removals (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id       TEXT    NOT NULL REFERENCES runs (id),
    repository   TEXT    NOT NULL,
    pkgbase      TEXT    NOT NULL,
    requested_at INTEGER NOT NULL,
    done_at      INTEGER
) STRICT;
CREATE UNIQUE INDEX open_removals ON removals (repository, pkgbase) WHERE done_at IS NULL;

-- Messages to the outside that follow from a run.
CREATE TABLE outbox (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    repository TEXT    NOT NULL,
    kind       TEXT    NOT NULL,
    key        TEXT    NOT NULL UNIQUE,
    payload    TEXT    NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    not_before INTEGER,
    last_error TEXT,
    done_at    INTEGER
) STRICT;
CREATE INDEX open_outbox ON outbox (id) WHERE done_at IS NULL;

-- What changed, for those who watch.
CREATE TABLE events (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    kind    TEXT    NOT NULL,
    subject TEXT    NOT NULL,
    payload TEXT    NOT NULL
) STRICT;

-- Answers of others that may be asked for again: validators of conditional requests and the like.
CREATE TABLE cache (
    key        TEXT    PRIMARY KEY,
    value      TEXT    NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
