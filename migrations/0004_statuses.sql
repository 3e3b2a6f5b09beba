-- What a forge is told by statuses beside commits: how builds stand, and what people propose.

-- How it is told of the builds of a wave: of each package by itself, of all in one line, or not at all.
ALTER TABLE waves ADD COLUMN told TEXT CHECK (told IN ('each', 'together'));
-- The pipeline of GitLab by which the wave came.
ALTER TABLE waves ADD COLUMN pipeline INTEGER;
CREATE INDEX builds_of_commit ON builds (repository, commit_id);

-- What people propose, as it was judged last. One that is not open any more is not here.
CREATE TABLE proposals (
    repository TEXT    NOT NULL,
    -- As people name it.
    number     INTEGER NOT NULL,
    -- The commit that was judged: what is said here holds for no other.
    head       TEXT    NOT NULL,
    -- Where it can be fetched.
    fetch      TEXT    NOT NULL,
    -- Nothing, if nothing is to be said.
    vote       TEXT    CHECK (vote IN ('success', 'failure')),
    summary    TEXT    NOT NULL,
    -- What stands below it; nothing, if there is nothing to say.
    comment    TEXT,
    -- Whether something of ours stands below it already.
    commented  INTEGER NOT NULL DEFAULT 0,
    judged_at  INTEGER NOT NULL,
    PRIMARY KEY (repository, number)
) STRICT, WITHOUT ROWID;

-- Test builds of proposals. They are no builds: nothing of them is published, and they stand in no line.
CREATE TABLE trials (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    repository   TEXT    NOT NULL,
    -- The proposal, and its commit that is built.
    number       INTEGER NOT NULL,
    head         TEXT    NOT NULL,
    arch         TEXT    NOT NULL,
    pkgbase      TEXT    NOT NULL,
    -- Packages of the same proposal that have to be built before, separated by spaces.
    after        TEXT    NOT NULL,
    state        TEXT    NOT NULL CHECK (state IN
        ('waiting', 'running', 'succeeded', 'failed', 'cancelled', 'lost')),
    -- Asked of one that runs.
    stop         INTEGER NOT NULL DEFAULT 0,
    attempts     INTEGER NOT NULL DEFAULT 0,
    -- The last attempt: what the executor and the log know it by.
    attempt      TEXT,
    not_before   INTEGER,
    message      TEXT,
    requested_at INTEGER NOT NULL,
    finished_at  INTEGER
) STRICT;
CREATE INDEX live_trials ON trials (id) WHERE state IN ('waiting', 'running');
CREATE INDEX trials_of_proposal ON trials (repository, number, head);
