-- Whether the trash has a content is asked once for each that no node has.
CREATE INDEX trash_content ON trash(content) WHERE content IS NOT NULL;
