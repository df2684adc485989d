#!/usr/bin/env bash
# HttpArena calls this instead of `docker build` on this folder: the program is built from the whole repository.
set -euo pipefail
cd "$(dirname "$0")/../.."
exec docker build --no-cache -f benches/arena/Dockerfile -t httparena-tower-chain .
