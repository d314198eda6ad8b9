-- What was at a path, and what was below it.
CREATE INDEX trash_path ON trash(path);
