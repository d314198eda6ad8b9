-- Copies of files that were read and are not what they must be. A row is about one object of an endpoint as it was then, or about
-- one content that is here: it says nothing any more once that is another.
CREATE TABLE damage (
  binding INTEGER NOT NULL,              -- of the stored copy; 0: the bytes that are here
  ino     INTEGER NOT NULL,
  version INTEGER NOT NULL,              -- of the drive, of what is here
  content BLOB NOT NULL,                 -- the endpoint's token, or contents.id
  what    TEXT NOT NULL,
  found   INTEGER NOT NULL,
  PRIMARY KEY (binding, ino)
) WITHOUT ROWID;

-- When all of what a leg's endpoint has was last looked at and planned, and what came of it.
CREATE TABLE tree_checks (
  leg      INTEGER PRIMARY KEY REFERENCES legs(id) ON DELETE CASCADE,
  checked  INTEGER NOT NULL,
  verified INTEGER NOT NULL,             -- when nothing was left to do; 0: never
  result   TEXT NOT NULL
);
