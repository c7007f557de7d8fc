-- One database per collection: the durable truth. Everything beside it can be rebuilt from it.
-- This is the newest version; how older ones become it is in app/storage/schema.py.

-- A row is one version of a point and is never changed: an update deletes it and inserts a new
-- one. AUTOINCREMENT, because a row number that came back would bring a tombstoned slot to life.
CREATE TABLE points (
    row        INTEGER PRIMARY KEY AUTOINCREMENT,
    key        BLOB NOT NULL UNIQUE,        -- app.keys: sorts like the ids
    attributes BLOB NOT NULL,               -- JSON object
    text       TEXT,                        -- what the vectors were made from, if it was given
    expires_at INTEGER                      -- milliseconds since 1970; NULL: never
) STRICT;

CREATE INDEX points_by_expiry ON points (expires_at) WHERE expires_at IS NOT NULL;

-- One table `vectors_<n>` per vector field, in the order of the definition:
--     row INTEGER PRIMARY KEY, vector BLOB NOT NULL    float32 little-endian, as given

-- What had been written when the tables were last packed: the last row used, and how many points
-- there were. One row. With both of now it says how many point versions went since.
CREATE TABLE packed (
    last_row INTEGER NOT NULL,
    points   INTEGER NOT NULL
) STRICT;

INSERT INTO packed VALUES (0, 0);

-- Small values that a collection keeps by kind and key: query banks, calibrations, … What they say
-- is up to who keeps them. A replaced value has a new row, so a row always means the same bytes.
CREATE TABLE artefacts (
    row     INTEGER PRIMARY KEY AUTOINCREMENT,
    kind    TEXT NOT NULL,
    key     TEXT NOT NULL,
    body    BLOB NOT NULL,
    made_at INTEGER NOT NULL,               -- milliseconds since 1970
    UNIQUE (kind, key)
) STRICT;

-- The graph segments that are in use, by folder name. A folder not listed here is rubbish.
CREATE TABLE segments (
    name TEXT PRIMARY KEY
) STRICT;
