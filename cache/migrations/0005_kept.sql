-- What is here in the order in which it was last opened: the evictor goes through it. What is not synced yet is left out, so
-- that a program that makes many files does not pay for it.
CREATE INDEX contents_used ON contents(used, id) WHERE boot = '';
