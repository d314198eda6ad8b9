-- Which end of its conduit an endpoint is. What there was before had one leg, and the drive at the other end.
ALTER TABLE legs ADD COLUMN role TEXT NOT NULL DEFAULT 'target';
UPDATE legs SET role = 'source' WHERE conduit IN (SELECT id FROM conduits WHERE source NOT LIKE 'drive:%');
-- 1: a place that is fed one way from outside. Programs change nothing in it.
ALTER TABLE places ADD COLUMN read_only INTEGER NOT NULL DEFAULT 0;
-- 1: the endpoint may have been made to give the object up, as the archive has proved to store it.
ALTER TABLE bindings ADD COLUMN releasing INTEGER NOT NULL DEFAULT 0;
-- 1: of a directory that is not bound: what is in it has been seen.
ALTER TABLE observed ADD COLUMN listed INTEGER NOT NULL DEFAULT 0;
-- How often what was done at an endpoint that only follows was undone.
ALTER TABLE conduits ADD COLUMN drift INTEGER NOT NULL DEFAULT 0;
ALTER TABLE generations ADD COLUMN drift INTEGER NOT NULL DEFAULT 0;

-- Strategies for the names that fit a pattern: the first that fits holds.
CREATE TABLE conduit_rules (
  conduit  INTEGER NOT NULL REFERENCES conduits(id) ON DELETE CASCADE,
  pos      INTEGER NOT NULL,
  pattern  BLOB NOT NULL,
  strategy TEXT NOT NULL,
  PRIMARY KEY (conduit, pos)
) WITHOUT ROWID;

-- The strategy that holds for one conflict: a person chose it, or merging failed. It is about two versions.
CREATE TABLE decisions (
  leg      INTEGER NOT NULL,
  dentry   INTEGER NOT NULL,
  version  INTEGER NOT NULL,             -- of the drive
  content  TEXT NOT NULL,                -- of the endpoint
  strategy TEXT NOT NULL,
  PRIMARY KEY (leg, dentry)
) WITHOUT ROWID;

-- What a source has given up after the archive had proved to store it. It is kept for good.
CREATE TABLE releases (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  at          INTEGER NOT NULL,
  conduit     TEXT NOT NULL,             -- its name then
  source      TEXT NOT NULL,
  destination TEXT NOT NULL,
  path        BLOB NOT NULL,             -- in the drive
  kind        INTEGER NOT NULL,
  size        INTEGER NOT NULL,
  hash        BLOB
);
