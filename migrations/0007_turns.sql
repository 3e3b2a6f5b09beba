-- What builds are asked for by, beside what they have from those that wait for them; and whose turn it is.

-- The place of the lane that a build was asked for in. Of those from before, that is not known any more.
ALTER TABLE builds ADD COLUMN asked_lane INTEGER NOT NULL DEFAULT 2 CHECK (asked_lane BETWEEN 0 AND 3);
UPDATE builds SET asked_lane = lane;

-- Who had how many turns, as the choice that was made last left it: one row.
CREATE TABLE turns (
    id   INTEGER PRIMARY KEY CHECK (id = 1),
    body TEXT    NOT NULL
) STRICT;
