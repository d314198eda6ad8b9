-- How many bytes of a content's file were on the disk for certain when they were last synced: what a power cut can have
-- torn lies behind them.
ALTER TABLE contents ADD COLUMN synced INTEGER NOT NULL DEFAULT 0;
