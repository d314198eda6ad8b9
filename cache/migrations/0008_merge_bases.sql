-- Up to what size files of the place are merged: what both sides had agreed on is kept from their first change on. 0: none is.
ALTER TABLE places ADD COLUMN merges INTEGER NOT NULL DEFAULT 0;
CREATE INDEX trash_hash ON trash(hash) WHERE content IS NOT NULL;
