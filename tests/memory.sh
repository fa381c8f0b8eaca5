#!/bin/sh
# Training needs the memory that --dry-run tells, within a tenth: planned bytes against the
# peak of the process, for several networks and sizes.  On a GPU, an emulated one, within a twentieth
# of what is allocated there; and one that is too small is told before the first step.
#
#   sh tests/memory.sh      BIN=folder of the programs (bin), EMULATED=of those with emulated GPUs
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

# ---- a GPU ----

train=${EMULATED:-build/emulated/bin}/train
export KC_EMULATED_REPORT=$work/report

# check_gpu OPTION...: the settings that differ.
check_gpu()
{
	set -- $(for s in "$@"; do echo "--set $s"; done)
	"$train" -opt "$work/run.yml" --device cuda "$@" --dry-run >"$work/dry"
	told=$(sed -n 's/^peak *\([0-9]*\).*/\1/p' "$work/dry")
	"$train" -opt "$work/run.yml" --device cuda "$@" --set path.root="$work" \
		--set train.niter=3 >"$work/log" 2>&1 || { tail -n 2 "$work/log" >&2; exit 1; }
	read -r _ _ _ bytes <"$work/report"
	peak=$((bytes / 1000000))
	if [ $((20 * peak)) -gt $((21 * told)) ] || [ $((20 * told)) -gt $((21 * peak)) ]; then
		echo "memory.sh: a GPU: peak $peak MB, --dry-run $told MB: $*" >&2
		exit 1
	fi
	# Half of it: both the plan and the run say so.
	export KC_EMULATED_MB=$(((told + 33) / 2))
	for more in --dry-run ""; do
		if "$train" -opt "$work/run.yml" --device cuda "$@" --set path.root="$work/small" \
			$more >"$work/log" 2>&1; then
			echo "memory.sh: $KC_EMULATED_MB MB are said to be enough: $*" >&2
			exit 1
		fi
		grep -q 'a step needs .* MB on cuda:0, there are' "$work/log" ||
			{ tail -n 2 "$work/log" >&2; exit 1; }
	done
	[ ! -e "$work/small/experiments" ] || { echo "memory.sh: a step was taken" >&2; exit 1; }
	unset KC_EMULATED_MB
	echo "peak $peak MB of a GPU, --dry-run $told MB: $*"
}

check_gpu datasets.train.GT_size=64
check_gpu datasets.train.keyframe_interval=3 train.accumulate=2 train.ema_decay=0.9
check_gpu model=idc network_G.which_model_G=siggraph17
