-- The open items of a leg in their order, a page at a time: without it each page looks at all of them.
CREATE INDEX items_order ON items(leg, id, origin) WHERE status < 6;
