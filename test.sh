#!/bin/sh
# Installs what is missing, builds, runs all tests. The last line is 'N passed, N failed'.
set -eu
cd "$(dirname "$0")"
sh tools/packages.sh
make -j"$(nproc)" all tests
exec make test
