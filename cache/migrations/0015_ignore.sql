-- What nobody is to look at. An observed object that no rule lets into the drive is passed over until the rules change; with
-- gone: the drive keeps the directory, as it holds ignored names.
ALTER TABLE observed ADD COLUMN ignored INTEGER NOT NULL DEFAULT 0;

-- The ignore files of the drive as they are in force: their bytes may be elsewhere.
CREATE TABLE ignore_files (
  dir     INTEGER PRIMARY KEY,           -- ino of the directory that the file is in
  ino     INTEGER NOT NULL,              -- the file
  version INTEGER NOT NULL,
  text    BLOB NOT NULL
);
CREATE INDEX dentries_ignore ON dentries(parent) WHERE name = X'2E7664667369676E6F7265';
CREATE INDEX observed_ignore ON observed(leg) WHERE name = X'2E7664667369676E6F7265';

-- Directories below which names may be ignored no more: they were moved, or the rules changed.
CREATE TABLE rechecks (
  dentry INTEGER PRIMARY KEY,
  after  INTEGER NOT NULL DEFAULT 0      -- the last name in it that was looked at
);
