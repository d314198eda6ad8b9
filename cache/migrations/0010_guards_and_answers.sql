-- What was deleted on one side of a leg, one soon after the other, and how much of it the other side has followed: whether the
-- rest is held does not hang on when the daemon was started.
CREATE TABLE deletions (
  leg     INTEGER NOT NULL,
  side    INTEGER NOT NULL,              -- as items.origin
  begun   INTEGER NOT NULL,
  objects INTEGER NOT NULL,              -- there were when it began
  last    INTEGER NOT NULL,              -- the newest binding then
  done    INTEGER NOT NULL,
  held    INTEGER NOT NULL,
  PRIMARY KEY (leg, side)
) WITHOUT ROWID;

-- A decision goes with what it is about: the conflict of two versions, which is over when something else is agreed on.
CREATE TRIGGER decisions_agreed AFTER UPDATE OF dentry, l_version, r_content, r_target ON bindings
WHEN old.dentry IS NOT new.dentry OR old.l_version <> new.l_version OR old.r_content <> new.r_content OR old.r_target IS NOT new.r_target
BEGIN
  DELETE FROM decisions WHERE leg = old.leg AND dentry = old.dentry;
END;
CREATE TRIGGER decisions_unbound AFTER DELETE ON bindings
BEGIN
  DELETE FROM decisions WHERE leg = old.leg AND dentry = old.dentry;
END;
DELETE FROM decisions WHERE NOT EXISTS (SELECT 1 FROM bindings b WHERE b.leg = decisions.leg AND b.dentry = decisions.dentry
  AND b.l_version <> decisions.version AND b.r_content <> decisions.content);
