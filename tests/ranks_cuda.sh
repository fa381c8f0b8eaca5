#!/bin/sh
# Training over two processes on emulated GPUs, means by an emulated NCCL: equal to one process but
# for the order of sums, validation included, and what happens when a process is killed: in a step,
# while it records one, in a validation, while it saves, while NCCL meets, at random launches.  The
# other one ends within a minute and says why, the last checkpoint is whole, and resumed runs end
# with the bits of one that nothing disturbed.
#
#   sh tests/ranks_cuda.sh [KILLS [SEED]]   5 random kills beside the others; the seed is printed
#   BIN=folder      of the programs (build/emulated/bin)
set -eu
kills=${1:-5}
seed=${2:-$(date +%s)}
train=${BIN:-build/emulated/bin}/train
port=$((20000 + seed % 10000))
steps=6
export OMP_NUM_THREADS=1 KC_EMULATED_DEVICES=2

work=$(mktemp -d /tmp/kc-ranks-cuda-XXXXXX)
pids=
cleanup()
{
	for pid in $pids; do
		kill -9 "$pid" 2>/dev/null || :
		rm -f /dev/shm/kc-emulated-nccl-"$pid"-*
	done
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

fail()
{
	echo "ranks_cuda.sh: $* (seed $seed)" >&2
	tail -n 2 "$work"/*.log >&2
	exit 1
}

. "$(dirname "$0")/chance.sh"
. "$(dirname "$0")/clips.sh"
. "$(dirname "$0")/equal.sh"
make_clips "$work/clips"

# config NAME: the same run under a folder of its own.
config()
{
	mkdir -p "$work/$1"
	cat >"$work/$1.yml" <<-END
	name: run
	use_tb_logger: false
	threads: 1
	flow: dis
	device: cuda
	datasets:
	  train:
	    dataroot_GT: $work/clips
	    interval_list: [1, 2]
	    random_reverse: true
	    keyframe_interval: 1
	    n_workers: 1
	    batch_size: 2
	    GT_size: 32
	  val:
	    dataroot_GT: $work/clips
	    keyframe_interval: 3
	    GT_size: 32
	    max_frames: 4
	network_G:
	  init: formula
	  width: 0.125
	path:
	  root: $work/$1
	train:
	  lr_G: 1e-3
	  ema_decay: 0.9
	  niter: $steps
	  val_freq: 3
	logger:
	  print_freq: 1
	  save_checkpoint_freq: 2
	  keep: 0
	END
}

# rank NUMBER NAME [OPTION...]: one of two, in the background; dies at $die when it is $victim.
victim= die=
rank()
{
	number=$1 name=$2
	shift 2
	end=
	[ "$number" != "$victim" ] || end=$die
	RANK=$number WORLD_SIZE=2 LOCAL_RANK=$number MASTER_ADDR=127.0.0.1 MASTER_PORT=$port \
		KC_EMULATED_KILL=$end KC_EMULATED_REPORT=$work/launches.$number \
		"$train" -opt "$work/$name.yml" --auto-resume "$@" >"$work/$name.$number.log" 2>&1 &
	eval "pid$number=$!"
	pids="$pids $!"
}

# Both; each pair meets at a port of its own.
two()
{
	port=$((port + 1))
	rank 0 "$@"
	rank 1 "$@"
}

# finish: waits for both; their statuses into $status0 and $status1, and the time into $took.
finish()
{
	before=$(milliseconds)
	while kill -0 "$pid0" 2>/dev/null || kill -0 "$pid1" 2>/dev/null; do
		[ $(($(milliseconds) - before)) -lt 90000 ] || fail "still running"
		sleep 0.05
	done
	took=$(($(milliseconds) - before))
	status0=0 status1=0
	wait "$pid0" 2>/dev/null || status0=$?
	wait "$pid1" 2>/dev/null || status1=$?
	rm -f /dev/shm/kc-emulated-nccl-"$pid0"-*
	pids=
}

whole()
{
	victim=
	two "$@"
	finish
	[ $status0 = 0 ] && [ $status1 = 0 ] || fail "$1: ended with $status0 and $status1"
}

# ---- equal ----

config one
"$train" -opt "$work/one.yml" >"$work/one.log" 2>&1 || fail "one process ended with $?"
config two
whole two
cp "$work/launches.1" "$work/launches.two"
[ -s "$work/launches.two" ] || fail "the launches were not counted"
compare_numbers one two 1e-4
grep -q val_psnr "$work/a" "$work/two/experiments/run/metrics.jsonl" || fail "nothing was validated"
grep -q '2 processes' "$work/two.0.log" || fail "these were not two processes"
config again
whole again
same_bits two again
echo "one process and two: losses and validations differ by $largest at most; again: same bits"

# ---- killed ----

# survived WHAT: the victim was killed and the other one ended by itself, saying so.
survived()
{
	finish
	eval "dead=\$status$victim other=\$status$((1 - victim))"
	[ "$dead" != 0 ] || [ "$other" != 0 ] || return 0     # the run ended before
	[ "$dead" = 137 ] && [ "$other" = 1 ] || fail "$1: ended with $status0 and $status1"
	[ "$took" -lt 60000 ] || fail "$1: the other one took $took ms"
	grep -q "rank $victim is gone" "$work/killed.$((1 - victim)).log" ||
		fail "$1: rank $((1 - victim)) does not say that rank $victim is gone"
	[ "$took" -le "$longest" ] || longest=$took
	echo "$1: rank $victim killed, the other one ended"
}

# kill_at WHAT RANK LAUNCH [OPTION...]
longest=0
kill_at()
{
	what=$1 victim=$2 die=$3
	shift 3
	two killed "$@"
	survived "$what"
}

# launches_of NAME OPTION...: of rank 1, into $launches.
launches_of()
{
	config "$1"
	whole "$@"
	read -r launches first last _ <"$work/launches.1"
}

launches_of stepped --set train.niter=1 --set train.val_freq=0
begin=$launches
launches_of validated --set train.niter=1 --set train.val_freq=1
middle=$(((begin + 3 * launches) / 4))
[ "$launches" -gt "$begin" ] || fail "validation launches nothing"
read -r launches first last _ <"$work/launches.two"

config killed
kill_at "while NCCL meets" 0 0
kill_at "while NCCL meets" 1 0
kill_at "in the first step" 1 20
kill_at "while recording" 0 $(((first + last) / 2))
kill_at "while recording" 1 $(((first + last) / 2))


# Rank 0 alone saves: as soon as there is a file that it has not finished.
victim=0 die=
two killed
until ls "$work/killed/experiments/run/"*/*.tmp >"$work/found" 2>&1; do
	kill -0 "$pid0" 2>/dev/null || fail "nothing was saved"
done
kill -9 "$pid0"
survived "while saving $(sed 's/.*run.//' "$work/found" | head -n 1)"

n=0
while [ $n -lt "$kills" ]; do
	draw 2
	who=$random
	draw "$launches"
	kill_at "at launch $random of $launches" "$who" "$((random + 1))"
	n=$((n + 1))
done
whole killed
same_bits two killed

config killed
rm -rf "$work/killed/experiments"
for who in 0 1; do
	kill_at "while validating" $who $middle --set train.niter=1 --set train.val_freq=1
done
whole killed --set train.niter=1 --set train.val_freq=1
same_bits validated killed
echo "resumed: the same bits; the other one ended within $longest ms"
