-- Whose work a generation is: a conduit's legs work beside each other. 0: it is older than that is noted.
ALTER TABLE generations ADD COLUMN leg INTEGER NOT NULL DEFAULT 0;
-- The one item that it is for, as its transfer is large; 0: it is for whatever is to be done.
ALTER TABLE generations ADD COLUMN item INTEGER NOT NULL DEFAULT 0;
UPDATE generations SET verification = 'failed:' || errors || ' of its operations failed' WHERE completed <> 0 AND verification = 'unverified';
-- Those that are under way or wait to be verified: few, of a table that grows for ever.
CREATE INDEX generations_open ON generations(leg, item) WHERE verification IN ('unverified', 'waiting_watcher', 'waiting_library_sync');

-- What a generation has made, changed or removed, until it is verified.
CREATE TABLE touched (
  leg        INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  binding    INTEGER NOT NULL,           -- 0: an object that the drive never had was removed
  remote_id  TEXT NOT NULL DEFAULT '',   -- of what was removed; '': the binding lives
  parent     TEXT NOT NULL DEFAULT '',   -- remote_id of the directory that it was in
  name       BLOB NOT NULL DEFAULT x'',
  PRIMARY KEY (leg, generation, binding, remote_id)
) WITHOUT ROWID;
