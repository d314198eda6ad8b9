-- For whom bytes were last fetched, for those who ask why a file is here: the program and what kind it was.
ALTER TABLE contents ADD COLUMN fetched INTEGER NOT NULL DEFAULT 0;
ALTER TABLE contents ADD COLUMN reader TEXT NOT NULL DEFAULT '';
ALTER TABLE contents ADD COLUMN reader_kind TEXT NOT NULL DEFAULT '';
