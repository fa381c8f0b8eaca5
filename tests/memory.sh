#!/bin/sh
# Training needs the memory that --dry-run tells, within a tenth: planned bytes against the
# peak of the process, for several networks and sizes.
#
#   sh tests/memory.sh      BIN=folder of the programs (bin)
set -eu
train=${BIN:-bin}/train
work=$(mktemp -d /tmp/kc-memory-XXXXXX)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

# One clip of noise-free stripes, as PNM.
mkdir -p "$work/clips/a"
for f in 0 1 2 3 4 5 6; do
	{
		echo "P2 144 144 255"
		i=0
		while [ $i -lt 144 ]; do
			seq -s ' ' $((i + f)) $((i + f + 143)) | sed 's/[0-9]*\([0-9][0-9]\)/\1/g'
			i=$((i + 1))
		done
	} >"$work/clips/a/$f.ppm"
done

cat >"$work/run.yml" <<END
name: run
threads: 1
flow: dis
datasets:
  train:
    dataroot_GT: $work/clips
    keyframe_interval: 1
    n_workers: 1
    batch_size: 1
    GT_size: 64
network_G:
  init: formula
  width: 0.25
END

# The number behind "key": in a file.
value()
{
	sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p" "$2"
}

# check OPTION...: the settings that differ.
check()
{
	set -- $(for s in "$@"; do echo "--set $s"; done)
	"$train" -opt "$work/run.yml" "$@" --benchmark 2 >"$work/json"
	"$train" -opt "$work/run.yml" "$@" --dry-run >"$work/dry"
	peak=$(value peak_rss_mb "$work/json") planned=$(value planned_mb "$work/json")
	told=$(sed -n 's/^peak *\([0-9]*\).*/\1/p' "$work/dry")
	if [ $((10 * peak)) -gt $((11 * told)) ] || [ $((10 * told)) -gt $((11 * peak)) ] ||
	   [ $((told - planned)) -gt 2 ] || [ $((planned - told)) -gt 2 ]; then
		echo "memory.sh: peak $peak MB, planned $planned MB, --dry-run $told MB: $*" >&2
		exit 1
	fi
	echo "peak $peak MB, --dry-run $told MB: $*"
}

check datasets.train.GT_size=64
check datasets.train.GT_size=128
check datasets.train.GT_size=128 datasets.train.keyframe_interval=4 train.accumulate=2
check network_G.width=1 network_G.train_flow_keyNet=true
check datasets.train.GT_size=128 gan.type=wgangp gan.d_steps=2 gan.start_iter=9 \
	network_D.which_model_D=temporal
check model=idc network_G.which_model_G=siggraph17 datasets.train.GT_size=128
check model=idc network_G.which_model_G=siggraph17 network_G.width=1 train.ema_decay=0.9
