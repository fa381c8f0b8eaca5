#!/bin/sh
# Installs what building needs where it is missing: Debian 12 and 13, Ubuntu 22.04 and later.
# Prints the one line to run instead when there is neither root nor sudo.
set -eu

packages="gcc g++ make pkg-config libdnnl-dev libyaml-dev libhdf5-dev libavformat-dev libavcodec-dev
libswscale-dev libavutil-dev libopencv-video-dev $*"

missing=
for p in $packages; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" != 0 ]; then
	if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
		as_root="sudo -n"
	else
		echo "some packages are missing; please run, then start again:" >&2
		echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends$missing" >&2
		exit 1
	fi
fi
echo "installing:$missing"
log=$(mktemp)
if ! { $as_root apt-get update -qq &&
	$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing; } \
	>"$log" 2>&1; then
	tail -n 20 "$log" >&2
	echo "could not install:$missing" >&2
	rm -f "$log"
	exit 1
fi
rm -f "$log"
