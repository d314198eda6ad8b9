-- A symlink that was replaced or deleted is nothing but where it led.
ALTER TABLE trash ADD COLUMN target BLOB;
