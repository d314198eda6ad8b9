-- The first layout of the index. Names are BLOBs: a file name is bytes, not text.
-- Times are nanoseconds since 1970. auto_vacuum is set before this runs.

CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;

-- A node is an inode of the drive. ino is its FUSE node id; AUTOINCREMENT: never reused.
CREATE TABLE nodes (
  ino       INTEGER PRIMARY KEY AUTOINCREMENT,
  kind      INTEGER NOT NULL,
  mode      INTEGER NOT NULL,            -- permission bits, 07777
  uid       INTEGER NOT NULL,
  gid       INTEGER NOT NULL,
  rdev      INTEGER NOT NULL DEFAULT 0,
  size      INTEGER NOT NULL DEFAULT 0,
  atime     INTEGER NOT NULL,
  mtime     INTEGER NOT NULL,
  ctime     INTEGER NOT NULL,
  btime     INTEGER NOT NULL,
  nlink     INTEGER NOT NULL,
  target    BLOB,                        -- of a symlink
  version   INTEGER NOT NULL DEFAULT 1,  -- counts changes of the content, from any side
  hash      BLOB,                        -- BLAKE3 of this version; NULL: not known
  content   INTEGER,                     -- contents.id; NULL: no backing file
  residency INTEGER NOT NULL DEFAULT 0,
  writing   INTEGER NOT NULL DEFAULT 0,  -- 1: the backing file is the truth for size and mtime
  listing   INTEGER NOT NULL DEFAULT 2,
  place     INTEGER NOT NULL DEFAULT 0,  -- of a directory: the place its children belong to
  xattrs    INTEGER NOT NULL DEFAULT 0   -- how many rows in xattrs: the cheap "none" answer
);
CREATE INDEX nodes_unlisted ON nodes(place, ino) WHERE listing <> 2;
CREATE INDEX nodes_orphan ON nodes(ino) WHERE nlink = 0;
CREATE INDEX nodes_writing ON nodes(ino) WHERE writing <> 0;

-- A dentry is a name in a directory. Its id survives renames and is the readdir offset.
CREATE TABLE dentries (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  parent     INTEGER NOT NULL,           -- ino of the directory; 0 for the root's own dentry
  name       BLOB NOT NULL,
  ino        INTEGER NOT NULL,
  intent     INTEGER NOT NULL DEFAULT 0, -- 0: inherited
  local_only INTEGER NOT NULL DEFAULT 0  -- temp and lock names, special files: never sent
);
CREATE UNIQUE INDEX dentries_name ON dentries(parent, name);
CREATE INDEX dentries_order ON dentries(parent, id);
CREATE INDEX dentries_ino ON dentries(ino);
CREATE INDEX dentries_intent ON dentries(id) WHERE intent <> 0;

CREATE TABLE xattrs (
  ino   INTEGER NOT NULL,
  name  BLOB NOT NULL,
  value BLOB NOT NULL,
  PRIMARY KEY (ino, name)
) WITHOUT ROWID;

-- The local bytes of one version of one node: a backing file named by id, and what of it is there.
CREATE TABLE contents (
  id      INTEGER PRIMARY KEY AUTOINCREMENT,
  ino     INTEGER NOT NULL,
  size    INTEGER NOT NULL,              -- of the version, not of the backing file
  present INTEGER NOT NULL DEFAULT 0,    -- bytes present
  ranges  BLOB,                          -- present ranges while partial; NULL when full
  boot    TEXT NOT NULL DEFAULT '',      -- boot in which its bytes were written and not yet synced; '': on disk
  used    INTEGER NOT NULL DEFAULT 0     -- last opened
);
CREATE INDEX contents_ino ON contents(ino);
CREATE INDEX contents_boot ON contents(boot) WHERE boot <> '';

CREATE TABLE places (
  id   INTEGER PRIMARY KEY AUTOINCREMENT,
  ino  INTEGER NOT NULL UNIQUE           -- the directory of the drive
);

CREATE TABLE conduits (
  id              INTEGER PRIMARY KEY AUTOINCREMENT,
  uuid            TEXT NOT NULL UNIQUE,
  name            TEXT NOT NULL UNIQUE,
  place           INTEGER NOT NULL REFERENCES places(id),
  source          TEXT NOT NULL,
  target          TEXT NOT NULL,
  policy          TEXT NOT NULL,
  policy_config   TEXT NOT NULL DEFAULT '{}',
  strategy        TEXT NOT NULL DEFAULT 'conflict-file',
  cadence         TEXT NOT NULL DEFAULT 'instant',
  enabled         INTEGER NOT NULL DEFAULT 1,
  parallel        INTEGER NOT NULL DEFAULT 3,
  bandwidth       INTEGER NOT NULL DEFAULT 0,   -- bytes a second, 0: unlimited
  use_index_rules INTEGER NOT NULL DEFAULT 1,
  generation      INTEGER NOT NULL DEFAULT 0,
  last_sync       INTEGER NOT NULL DEFAULT 0,
  last_error      TEXT NOT NULL DEFAULT '',
  last_error_at   INTEGER NOT NULL DEFAULT 0,
  total_syncs     INTEGER NOT NULL DEFAULT 0,
  files_synced    INTEGER NOT NULL DEFAULT 0,
  bytes_transferred INTEGER NOT NULL DEFAULT 0,
  created         INTEGER NOT NULL,
  updated         INTEGER NOT NULL
);

CREATE TABLE legs (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  conduit   INTEGER NOT NULL REFERENCES conduits(id) ON DELETE CASCADE,
  place     INTEGER NOT NULL,
  endpoint  TEXT NOT NULL,               -- as the person wrote it, made absolute
  identity  TEXT NOT NULL DEFAULT '',    -- what Check showed at creation: another root is never read as ours
  cursor    TEXT NOT NULL DEFAULT '',
  last_seq  INTEGER NOT NULL DEFAULT 0,  -- last remote id given out for an endpoint without ids
  contact   INTEGER NOT NULL DEFAULT 0,  -- 1: first contact is complete
  state     TEXT NOT NULL DEFAULT '',    -- '', offline, held, error
  message   TEXT NOT NULL DEFAULT '',    -- of the state, for people
  last_scan INTEGER NOT NULL DEFAULT 0,
  scan_cost INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX legs_place ON legs(place);

-- The base: what the drive and the endpoint last agreed on about one object.
-- No full path: identity is remote_id, given by the endpoint or, where it has none, by the leg.
CREATE TABLE bindings (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  leg         INTEGER NOT NULL,
  dentry      INTEGER,                   -- NULL: gone from the drive, delete not yet agreed
  remote_id   TEXT NOT NULL,
  ident       TEXT NOT NULL DEFAULT '',  -- endpoint's fingerprint that survives a rename
  parent      INTEGER NOT NULL,          -- binding of the directory; 0 for the leg's root
  remote_name BLOB NOT NULL,
  kind        INTEGER NOT NULL,
  r_tag       TEXT NOT NULL,
  r_content   TEXT NOT NULL,
  r_hash      BLOB,
  r_size      INTEGER NOT NULL DEFAULT 0,
  r_mtime     INTEGER NOT NULL DEFAULT 0,
  r_mode      INTEGER NOT NULL DEFAULT 0,
  r_target    BLOB,
  l_parent    INTEGER NOT NULL,          -- dentry id of the directory
  l_name      BLOB NOT NULL,
  l_version   INTEGER NOT NULL DEFAULT 0,
  l_mtime     INTEGER NOT NULL DEFAULT 0,
  l_mode      INTEGER NOT NULL DEFAULT 0,
  proof       INTEGER NOT NULL DEFAULT 0, -- how it was proved that the endpoint stores r_hash
  verified    INTEGER NOT NULL DEFAULT 0, -- when
  listed      INTEGER NOT NULL DEFAULT 1  -- of a directory: its children at the endpoint are known
);
CREATE UNIQUE INDEX bindings_remote ON bindings(leg, remote_id);
CREATE UNIQUE INDEX bindings_dentry ON bindings(dentry, leg) WHERE dentry IS NOT NULL;
CREATE INDEX bindings_parent ON bindings(parent, remote_name);
CREATE INDEX bindings_ident ON bindings(leg, ident) WHERE ident <> '';
CREATE INDEX bindings_lname ON bindings(parent, l_name) WHERE l_name <> remote_name;
CREATE INDEX bindings_gone ON bindings(leg, id) WHERE dentry IS NULL;
CREATE INDEX bindings_unlisted ON bindings(leg, id) WHERE listed = 0;

-- The endpoint where it differs from the base.
CREATE TABLE observed (
  leg       INTEGER NOT NULL,
  remote_id TEXT NOT NULL,
  ident     TEXT NOT NULL DEFAULT '',
  parent    TEXT NOT NULL,               -- remote_id of the directory
  name      BLOB NOT NULL,
  kind      INTEGER NOT NULL,
  tag       TEXT NOT NULL DEFAULT '',
  content   TEXT NOT NULL DEFAULT '',
  hash      BLOB,
  size      INTEGER NOT NULL DEFAULT 0,
  mtime     INTEGER NOT NULL DEFAULT 0,
  mode      INTEGER NOT NULL DEFAULT 0,
  target    BLOB,
  gone      INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (leg, remote_id)
) WITHOUT ROWID;
CREATE INDEX observed_parent ON observed(leg, parent, name);
CREATE INDEX observed_ident ON observed(leg, ident) WHERE ident <> '';

-- The work on one difference. Derived: delete them all, plan again, and the same work comes out.
-- A local item is keyed by its binding, or by its dentry while there is none; a remote one by remote_id.
CREATE TABLE items (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  leg        INTEGER NOT NULL,
  origin     INTEGER NOT NULL,           -- 1 remote, 2 local
  binding    INTEGER,
  dentry     INTEGER,
  remote_id  TEXT,
  operation  INTEGER NOT NULL,
  status     INTEGER NOT NULL,
  base_version INTEGER NOT NULL DEFAULT 0,
  base_hash  BLOB,
  priority   INTEGER NOT NULL DEFAULT 0,
  eligible   INTEGER NOT NULL DEFAULT 0, -- not before this time
  tries      INTEGER NOT NULL DEFAULT 0,
  error      TEXT NOT NULL DEFAULT '',
  parked     INTEGER NOT NULL DEFAULT 0, -- 1: a lasting cause, waits for a person or a change
  resolution TEXT NOT NULL DEFAULT '',
  generation INTEGER NOT NULL DEFAULT 0,
  name       BLOB,                       -- last known name, for what is gone
  created    INTEGER NOT NULL,
  updated    INTEGER NOT NULL
);
CREATE UNIQUE INDEX items_binding ON items(leg, binding) WHERE origin = 2 AND binding IS NOT NULL AND status < 6;
CREATE UNIQUE INDEX items_dentry ON items(leg, dentry) WHERE origin = 2 AND binding IS NULL AND status < 6;
CREATE UNIQUE INDEX items_remote ON items(leg, remote_id) WHERE origin = 1 AND status < 6;
CREATE INDEX items_open ON items(leg, origin, status, id) WHERE status < 6;
CREATE INDEX items_closed ON items(updated) WHERE status >= 6;

-- A write at an endpoint that may have happened without its outcome being known: the daemon can die between the two.
CREATE TABLE journal (
  leg     INTEGER NOT NULL,
  item    INTEGER NOT NULL,              -- whose work it is
  op      BLOB NOT NULL,                 -- what it was to do, in the syncer's own form
  created INTEGER NOT NULL,
  PRIMARY KEY (leg, item)
) WITHOUT ROWID;

CREATE TABLE generations (
  conduit      INTEGER NOT NULL,
  generation   INTEGER NOT NULL,
  started      INTEGER NOT NULL,
  completed    INTEGER NOT NULL DEFAULT 0,
  copied       INTEGER NOT NULL DEFAULT 0,
  deleted      INTEGER NOT NULL DEFAULT 0,
  conflicts    INTEGER NOT NULL DEFAULT 0,
  bytes        INTEGER NOT NULL DEFAULT 0,
  errors       INTEGER NOT NULL DEFAULT 0,
  verified     INTEGER NOT NULL DEFAULT 0,
  verification TEXT NOT NULL DEFAULT 'unverified',
  PRIMARY KEY (conduit, generation)
) WITHOUT ROWID;

CREATE TABLE conflicts (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  leg           INTEGER NOT NULL,
  type          TEXT NOT NULL,
  strategy      TEXT NOT NULL,
  dentry        INTEGER,                 -- the winner
  conflict      INTEGER,                 -- the conflict file's dentry
  path          BLOB NOT NULL,           -- as they were when it arose
  conflict_path BLOB NOT NULL,
  local         TEXT NOT NULL,           -- JSON: size, mtime, device, hash
  remote        TEXT NOT NULL,
  state         TEXT NOT NULL,           -- open, resolved
  created       INTEGER NOT NULL,
  resolved      INTEGER NOT NULL DEFAULT 0
);

-- Bytes to move: pins and refreshes to fetch, resumable uploads.
CREATE TABLE transfers (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  ino      INTEGER NOT NULL,
  leg      INTEGER NOT NULL DEFAULT 0,
  upload   INTEGER NOT NULL DEFAULT 0,
  priority INTEGER NOT NULL DEFAULT 0,
  key      TEXT NOT NULL DEFAULT '',
  resume   BLOB,
  tries    INTEGER NOT NULL DEFAULT 0,
  next     INTEGER NOT NULL DEFAULT 0,
  error    TEXT NOT NULL DEFAULT '',
  created  INTEGER NOT NULL,
  UNIQUE (ino, leg, upload)
);
CREATE INDEX transfers_next ON transfers(upload, priority DESC, next, id);

-- What the drive itself keeps of versions that a remote change replaced or deleted here.
CREATE TABLE trash (
  id      INTEGER PRIMARY KEY AUTOINCREMENT,
  leg     INTEGER NOT NULL,
  path    BLOB NOT NULL,
  kind    INTEGER NOT NULL,
  mode    INTEGER NOT NULL,
  size    INTEGER NOT NULL,
  mtime   INTEGER NOT NULL,
  hash    BLOB,
  content INTEGER,
  reason  TEXT NOT NULL,
  created INTEGER NOT NULL
);
CREATE INDEX trash_created ON trash(created);

CREATE TABLE activity (
  id   INTEGER PRIMARY KEY AUTOINCREMENT,
  at   INTEGER NOT NULL,
  kind TEXT NOT NULL,
  text TEXT NOT NULL
);
