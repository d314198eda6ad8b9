-- Where objects of an endpoint were called otherwise, so that what it keeps of them is found under the path that they had at a time.
CREATE TABLE moves (
  id  INTEGER PRIMARY KEY AUTOINCREMENT,
  leg INTEGER NOT NULL,
  at  INTEGER NOT NULL,
  old BLOB NOT NULL, -- a path as the endpoint calls it
  new BLOB NOT NULL
);
CREATE INDEX moves_leg ON moves(leg, at);
-- When what has a base, or was put into the drive's trash, came into the drive: its own time may say that it is older. 0: not known.
ALTER TABLE bindings ADD COLUMN born INTEGER NOT NULL DEFAULT 0;
ALTER TABLE trash ADD COLUMN born INTEGER NOT NULL DEFAULT 0;
