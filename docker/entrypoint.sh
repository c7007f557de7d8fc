#!/bin/sh
# likewise, after a look at what the mounted volumes allow.
set -eu
for folder in "$LIKEWISE_DATA_DIR" "$NUMBA_CACHE_DIR"; do
    if [ ! -w "$folder" ]; then
        echo "likewise: user $(id -u) cannot write to $folder; see docs/docker.md, volumes" >&2
        exit 1
    fi
done
exec likewise "$@"
