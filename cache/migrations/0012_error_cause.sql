-- A word for the kind of an item's error, that whoever works on items chooses. It means something only while there is an error.
ALTER TABLE items ADD COLUMN cause TEXT NOT NULL DEFAULT '';
