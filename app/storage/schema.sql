-- One database per collection: the durable truth. Everything beside it can be rebuilt from it.

-- A row is one version of a point and is never changed: an update deletes it and inserts a new
-- one. AUTOINCREMENT, because a row number that came back would bring a tombstoned slot to life.
CREATE TABLE points (
    row        INTEGER PRIMARY KEY AUTOINCREMENT,
    key        BLOB NOT NULL UNIQUE,        -- app.keys: sorts like the ids
    attributes BLOB NOT NULL,               -- JSON object
    text       TEXT                         -- what the vectors were made from, if it was given
) STRICT;

-- One table `vectors_<n>` per vector field, in the order of the definition:
--     row INTEGER PRIMARY KEY, vector BLOB NOT NULL    float32 little-endian, as given

-- The graph segments that are in use, by folder name. A folder not listed here is rubbish.
CREATE TABLE segments (
    name TEXT PRIMARY KEY
) STRICT;
