#!/bin/sh
# Training over two processes, which mpirun starts or variables as torchrun sets them: equal to one
# process but for the order of sums, the same bits every time, and what happens when a process
# is killed, asked to stop, or is not like the other.
#
#   sh tests/ranks.sh [KILLS [SEED]]        6 kills; the seed is printed
#   BIN=folder      of the programs (bin)
set -eu
kills=${1:-6}
seed=${2:-$(date +%s)}
bin=${BIN:-bin}
train=$bin/train
port=$((20000 + seed % 10000))
steps=12
export OMP_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none

work=$(mktemp -d /tmp/kc-ranks-XXXXXX)
pids= lonely=
cleanup()
{
	for pid in $pids $lonely; do
		kill -9 "$pid" 2>/dev/null || :
	done
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

fail()
{
	echo "ranks.sh: $* (seed $seed)" >&2
	tail -n 2 $(ls -t "$work"/*.log | head -n 4) >&2
	exit 1
}

. "$(dirname "$0")/chance.sh"
. "$(dirname "$0")/clips.sh"
. "$(dirname "$0")/equal.sh"
make_clips "$work/clips"

# config NAME [CLIPS]: the same run under a folder of its own.
config()
{
	mkdir -p "$work/$1"
	cat >"$work/$1.yml" <<-END
	name: run
	use_tb_logger: false
	threads: 1
	flow: dis
	datasets:
	  train:
	    dataroot_GT: $work/${2:-clips}
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
	network_G:
	  init: formula
	  width: 0.125
	path:
	  root: $work/$1
	train:
	  lr_G: 1e-3
	  ema_decay: 0.9
	  niter: $steps
	  val_freq: 4
	logger:
	  print_freq: 1
	  save_checkpoint_freq: 2
	  keep: 0
	END
}

# one NAME [OPTION...]
one()
{
	name=$1
	shift
	"$train" -opt "$work/$name.yml" --auto-resume "$@" >"$work/$name.log" 2>&1 ||
		fail "$name: one process ended with $?"
}

# rank NUMBER NAME [OPTION...]: one of two, in the background.
rank()
{
	number=$1 name=$2
	shift 2
	RANK=$number WORLD_SIZE=2 LOCAL_RANK=$number MASTER_ADDR=127.0.0.1 MASTER_PORT=$port \
		"${program:-$train}" -opt "$work/$name.yml" --auto-resume "$@" \
		>"$work/$name.$number.log" 2>&1 &
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

# finish: waits for both, a minute at most and what it takes to end; their statuses into $status0 and $status1.
finish()
{
	before=$(milliseconds)
	while kill -0 "$pid0" 2>/dev/null || kill -0 "$pid1" 2>/dev/null; do
		[ $(($(milliseconds) - before)) -lt ${limit:-70}000 ] || fail "still running"
		sleep 0.1
	done
	took=$(($(milliseconds) - before))
	status0=0 status1=0
	wait "$pid0" 2>/dev/null || status0=$?
	wait "$pid1" 2>/dev/null || status1=$?
	pids=
}

both_end_with()
{
	finish
	[ $status0 = "$1" ] && [ $status1 = "$1" ] ||
		fail "$2: ended with $status0 and $status1, expected $1"
}

says()
{
	grep -q "$2" "$work/$1" || fail "$1 does not say \"$2\": $(tail -n 1 "$work/$1")"
}

# ---- a rank whose others never come, in the background of everything else ----

config lonely
port=$((port + 1))
rank 0 lonely
lonely=$pid0
lonely_start=$(milliseconds)

# ---- equal ----

config one
one one
config tcp
two tcp
both_end_with 0 tcp
compare_numbers one tcp 1e-4
echo "one process and two: metrics differ by $largest at most"
config again
export TORCHELASTIC_USE_AGENT_STORE=True        # torchrun keeps the port: the next one is taken
two again
port=$((port + 1))
unset TORCHELASTIC_USE_AGENT_STORE
both_end_with 0 again
same_bits tcp again
mpi=
if command -v mpirun >/dev/null && [ -r "$bin/libkc_mpi.so" ]; then
	mpi="mpirun -np 2 $train"
	config mpi
	$mpi -opt "$work/mpi.yml" >"$work/mpi.log" 2>&1 || fail "mpirun ended with $?"
	same_bits tcp mpi
	says mpi.log '2 processes, 1 of 2 windows each'
	echo "TCP and MPI: the same bits"
fi

config single
one single --set train.niter=6
two single
both_end_with 0 "from one to two"
compare_numbers one single 1e-4
config double
two double --set train.niter=6
both_end_with 0 "half way"
one double
compare_numbers one double 1e-4
echo "resumed on two after one, and on one after two: within $largest"

config cores
export LOCAL_WORLD_SIZE=2
two cores --set threads=0 --dry-run
unset LOCAL_WORLD_SIZE
both_end_with 0 cores
threads=$(nproc)
[ "$threads" -lt "$(getconf _NPROCESSORS_ONLN)" ] || threads=$((threads / 2))
[ "$threads" -gt 0 ] || threads=1
says cores.0.log ", $threads threads"

# alike NAME LARGEST OPTION...: one process and two, with those settings.
alike()
{
	pair=$1 most=$2
	shift 2
	config $pair-1
	one $pair-1 "$@"
	config $pair-2
	two $pair-2 "$@"
	both_end_with 0 $pair-2
	compare_numbers $pair-1 $pair-2 "$most"
}

alike accumulated 1e-4 --set train.accumulate=2 --set train.clip_grad_norm=0.01 \
	--set train.niter=4
alike summed 1e-4 --set train.pixel_weight=1 --set train.reduction=sum --set train.niter=4
for loss in vanilla ralsgan; do
	alike $loss 1e-3 --set gan.type=$loss --set network_D.which_model_D=patchgan \
		--set network_D.n_layers=1 --set network_D.width=0.125 --set train.niter=4
done
# One step: such a small network with batch norm amplifies every rounding.
alike idc 1e-3 --set model=idc --set network_G.which_model_G=siggraph17 --set train.val_freq=0 \
	--set train.niter=1 --set train.drop_grey=5
echo "accumulated, summed, with a discriminator, keyframe network: alike"

# ---- not finite ----

config nan
two nan --set train.srl_weight=1e39 --set train.nan_limit=2
both_end_with 1 nan
says nan.0.log 'rank 1: iteration 1 is not finite'
says nan.1.log 'iteration 2 (2 in a row)'

# ---- not alike ----

# refused NAME MESSAGE: both ranks fail within seconds and say why; nothing is left behind.
refused()
{
	limit=20
	both_end_with 1 "$1"
	limit=70
	says "$1.0.log" "$2"
	says "$1.1.log" "$2"
	[ ! -e "$work/$1/experiments" ] || fail "$1: a folder was made"
}

config settings
port=$((port + 1))
rank 0 settings
rank 1 settings --set train.lr_G=2e-3
refused settings 'the settings are not those of rank 0: .*lr_G'
config key
port=$((port + 1))
rank 0 key
rank 1 key --set train.lr_Q=2e-3
refused key 'lr_Q'
config build
port=$((port + 1))
cp "$train" "$work/train"
echo >>"$work/train"
rank 0 build
program=$work/train
rank 1 build
program=
refused build 'the programs are not those of rank 0'
config odd
two odd --set datasets.train.batch_size=3
refused odd 'expected a multiple of 2, got 3'
config empty
mkdir "$work/nothing"
two empty --set "datasets.train.dataroot_GT=$work/nothing"
refused empty 'dataroot_GT'

if [ ! -e "$bin/libkc_cuda.so" ]; then
	config gpu
	two gpu --device cuda
	refused gpu 'device cuda:[01]: '
	says gpu.1.log 'device cuda:1: '
fi

# ---- killed: the time of an undisturbed run is cut into as many pieces as there are kills ----

long="--set train.niter=$((kills * 20)) --set train.val_freq=20"
config whole
start_whole=$(milliseconds)
two whole $long
both_end_with 0 "the undisturbed run"
whole_ms=$(($(milliseconds) - start_whole))
config killed
before=$(milliseconds)
"$train" -opt "$work/killed.yml" --dry-run >"$work/dry.log" 2>&1 || fail "the dry run failed"
start_ms=$((2 * ($(milliseconds) - before)))
done=0 alive=0 slowest=0 torn=0
while [ $done -lt "$kills" ]; do
	two killed $long
	draw $((whole_ms * 3 / (2 * kills)))
	wait_ms $((start_ms + random))
	draw 2
	eval "kill -9 \$pid$random" 2>/dev/null || :
	finish
	other=$((1 - random))
	eval "killed=\$status$random status=\$status$other"
	if [ "$killed" = 137 ] && [ "$status" != 0 ]; then
		[ "$status" = 1 ] || fail "kill $done: the other rank ended with $status"
		[ "$(grep -c '^train' "$work/killed.$other.log")" = 1 ] ||
			fail "kill $done: not one line"
		[ $took -lt $slowest ] || slowest=$took
		alive=$((alive + 1))
	fi
	done=$((done + 1))
	if ls "$work/killed/experiments/run/"*/*.tmp >/dev/null 2>&1; then
		torn=$((torn + 1))
	fi
done
two killed $long
both_end_with 0 "the last resume"
same_bits whole killed
echo "$alive kills ($torn inside a save): the other rank ended within $slowest ms; resumed, the same bits"

# While both wait for data: frames of 60 MB, of which three make a sample.
mkdir -p "$work/large/1"
for f in 0 1 2 3; do
	{ echo P6 5000 4000 255; head -c 60000000 /dev/zero; } >"$work/large/1/$f.ppm"
done
config data large
two data --set train.val_freq=0 --set train.niter=1000
tries=0
until [ -s "$work/data/experiments/run/metrics.jsonl" ]; do
	tries=$((tries + 1))
	[ $tries -lt 600 ] || fail "the run with large frames did not start"
	sleep 0.1
done
kill -9 "$pid1"
finish
[ $status0 = 1 ] || fail "killed while waiting for data: status $status0"
says data.0.log 'rank 1 is gone'
rm -r "$work/large"
echo "killed while waiting for data: the other rank ended within $took ms"

if [ -n "$mpi" ]; then
	config mpikill
	$mpi -opt "$work/mpikill.yml" --set train.niter=100000 >"$work/mpikill.log" 2>&1 &
	pid0=$!
	pid1=$!
	until [ -s "$work/mpikill/experiments/run/metrics.jsonl" ]; do
		sleep 0.1
	done
	kill -9 "$(pgrep -P $pid0 -f -- -opt | tail -n 1)"
	finish
	[ $status0 != 0 ] || fail "mpirun took no notice of a killed rank"
	[ -z "$(pgrep -f "$work/mpikill.yml")" ] || fail "mpirun left a rank behind"
	echo "mpirun: ended within $took ms of a kill"
fi

# ---- asked to stop ----

config stop
two stop --set train.niter=100000 --set logger.save_checkpoint_freq=0
until [ -s "$work/stop/experiments/run/metrics.jsonl" ]; do
	sleep 0.1
done
kill -TERM "$pid1"
both_end_with 2 "SIGTERM to one rank"
[ "$(ls "$work/stop/experiments/run/training_state" | wc -l)" = 1 ] || fail "SIGTERM: not saved"
if [ -n "$mpi" ]; then
	config usr1
	$mpi -opt "$work/usr1.yml" --set train.niter=100000 \
		--set logger.save_checkpoint_freq=0 >"$work/usr1.log" 2>&1 &
	pid0=$!
	pid1=$!
	until [ -s "$work/usr1/experiments/run/metrics.jsonl" ]; do
		sleep 0.1
	done
	kill -USR1 $pid0
	finish
	says usr1.log 'stopped on request'
	[ "$(ls "$work/usr1/experiments/run/training_state" | wc -l)" = 1 ] ||
		fail "SIGUSR1 to mpirun: not saved"
fi
echo "SIGTERM to one rank: 2 on both, saved"

# ---- the lonely one ----

while kill -0 "$lonely" 2>/dev/null; do
	[ $(($(milliseconds) - lonely_start)) -lt 75000 ] || fail "a rank waits alone for ever"
	sleep 0.2
done
says lonely.0.log '1 of 2 ranks did not come within 60 s'
echo "a rank whose others never come gives up"
