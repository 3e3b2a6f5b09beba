-- Builds of a commit are looked for by package, too. Without it in the index, all builds of the repository were read.
DROP INDEX builds_of_commit;
CREATE INDEX builds_of_commit ON builds (repository, commit_id, pkgbase);
