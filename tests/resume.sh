#!/bin/sh
# Training survives being killed: a run that is killed with kill -9 at random moments and
# resumed each time with another number of loader workers ends with the bits of a run that
# nothing disturbed: models, training states, and metrics.jsonl but for its time fields.
# The same, with half of the kills, for a run against a discriminator, whose weights,
# moments, power iterations and random interpolations must come back too.  Then what signals do.
#
#   sh tests/resume.sh [KILLS [SEED]]       20 kills; the seed is printed
#   BIN=folder      of the programs (bin)
#   DEVICE=cuda     where it trains (cpu); with BIN=build/emulated/bin on the emulated GPU, where
#                   batches are fed ahead
set -eu
kills=${1:-20}
seed=${2:-$(date +%s)}
train=${BIN:-bin}/train

work=$(mktemp -d /tmp/kc-resume-XXXXXX)
pid=
cleanup()
{
	[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || :
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

fail()
{
	echo "resume.sh: $* (seed $seed)" >&2
	[ ! -f "$work/log" ] || tail -n 5 "$work/log" >&2
	exit 1
}

. "$(dirname "$0")/chance.sh"
. "$(dirname "$0")/clips.sh"
make_clips "$work/clips"

# config NAME: the same run under a folder of its own, with the lines of $more.
more='' steps=160
config()
{
	mkdir -p "$work/$1"
	cat >"$work/$1.yml" <<-END
	name: run
	use_tb_logger: true
	threads: 1
	device: ${DEVICE:-cpu}
	flow: dis
	datasets:
	  train:
	    dataroot_GT: $work/clips
	    interval_list: [1, 2]
	    random_reverse: true
	    keyframe_interval: 1
	    batch_size: 1
	    GT_size: 32
	  val:
	    dataroot_GT: $work/clips
	    keyframe_interval: 3
	    max_clips: 1
	    GT_size: 32
	network_G:
	  init: formula
	  width: 0.125
	path:
	  root: $work/$1
	train:
	  lr_G: 1e-3
	  lr_steps: [$((steps / 3)), $((steps / 2))]
	  ema_decay: 0.9
	  niter: $steps
	  val_freq: 8
	logger:
	  print_freq: 1
	  save_checkpoint_freq: 2
	  keep: 3
	$more
	END
}

# start NAME WORKERS [OPTION...]: in the background, as $pid.
start()
{
	name=$1 workers=$2
	shift 2
	"$train" -opt "$work/$name.yml" --auto-resume \
		--set "datasets.train.n_workers=$workers" "$@" >>"$work/log" 2>&1 &
	pid=$!
}

# The exit status of $pid, into $status.
finish()
{
	status=0
	wait "$pid" 2>/dev/null || status=$?
	pid=
}

without_time()
{
	sed 's/, "time": .*}$/}/' "$1"
}

# survives NAME KILLS: a run NAMEwhole that nothing disturbs, and the same as NAMEkilled.  Most of
# the time that the first took is cut into as many pieces as there are kills.
survives()
{
	whole=$1whole killed=$1killed n=$2
	steps=$((n * 8))
	: >"$work/log"
	config "$whole"
	before=$(milliseconds)
	start "$whole" 2
	finish
	whole_ms=$(($(milliseconds) - before))
	[ $status = 0 ] || fail "the undisturbed run ended with status $status"

	config "$killed"
	before=$(milliseconds)
	"$train" -opt "$work/$killed.yml" --dry-run >>"$work/log" 2>&1 || fail "the dry run failed"
	start_ms=$((2 * ($(milliseconds) - before)))
	done=0 alive=0 torn=0
	while [ $done -lt "$n" ]; do
		draw 3
		case $random in 0) workers=0 ;; 1) workers=1 ;; *) workers=3 ;; esac
		start "$killed" $workers
		draw $((start_ms + whole_ms * 3 / (2 * n)))
		wait_ms $random
		if kill -9 "$pid" 2>/dev/null; then
			alive=$((alive + 1))
		fi
		finish
		done=$((done + 1))
		[ $status = 137 ] || [ $status = 0 ] || fail "kill $done: ended with status $status"
		if ls "$work/$killed/experiments/run/"*/*.tmp >/dev/null 2>&1; then
			torn=$((torn + 1))
		fi
	done
	resumes=$(grep -c 'resumed behind' "$work/log" || :)
	start "$killed" 1
	finish
	[ $status = 0 ] || fail "the last resume ended with status $status"

	a=$work/$whole/experiments/run b=$work/$killed/experiments/run
	for file in $(cd "$a" && ls models/* training_state/*); do
		cmp "$a/$file" "$b/$file" || fail "$file differs"
	done
	[ "$(ls "$a/training_state")" = "$(ls "$b/training_state")" ] || fail "other states are left"
	without_time "$a/metrics.jsonl" >"$work/a"
	without_time "$b/metrics.jsonl" >"$work/b"
	cmp "$work/a" "$work/b" || fail "metrics.jsonl differs"
	[ "$(wc -l <"$work/a")" = $((steps + steps / 8)) ] || fail "metrics.jsonl has missing lines"
	echo "${1%-}: $alive kills ($torn inside a save), $resumes resumes, $steps steps: equal" \
		"(seed $seed)"
}

survives plain- "$kills"

more='gan: {type: wgangp, d_steps: 2, start_iter: 3, weight: 0.1}
network_D: {which_model_D: temporal, width: 0.125}'
survives gan- $(((kills + 1) / 2))
more='' steps=160

# ---- signals ----

states()
{
	ls "$work/$1/experiments/run/training_state" 2>/dev/null | tr '\n' ' '
}

# until_running NAME: waits for the first line of metrics.
until_running()
{
	tries=0
	until [ -s "$work/$1/experiments/run/metrics.jsonl" ]; do
		tries=$((tries + 1))
		[ $tries -lt 600 ] || fail "$1 did not start"
		sleep 0.1
	done
}

# stops SIGNAL STATUS: one signal ends the run behind a step, saved.
stops()
{
	config "$1"
	start "$1" 1 --set train.niter=1000000 --set logger.save_checkpoint_freq=0
	until_running "$1"
	kill "-$1" "$pid"
	finish
	[ $status = "$2" ] || fail "SIG$1: status $status, expected $2"
	[ -n "$(states "$1")" ] || fail "SIG$1: nothing was saved"
}

stops TERM 2
stops USR1 2
stops INT 130

# A second SIGINT does not wait for the end of the step, which is endless here.
config twice
start twice 0 --set train.accumulate=65536
sleep 0.1
until [ -d "$work/twice/experiments/run/models" ]; do
	sleep 0.1
done
sleep 0.3
kill -INT "$pid"
sleep 0.3
kill -0 "$pid" 2>/dev/null || fail "the first SIGINT did not let the step finish"
kill -INT "$pid"
finish
[ $status = 130 ] || fail "second SIGINT: status $status, expected 130"
[ -z "$(states twice)" ] || fail "second SIGINT: something was saved"

# A mistake is told and ends with 1.
"$train" -opt "$work/none.yml" 2>"$work/log" && fail "a missing file of settings is no error"
[ $? = 1 ] || fail "a missing file of settings: status is not 1"
grep -q 'none.yml' "$work/log" || fail "a missing file of settings is not named"
echo "SIGTERM and SIGUSR1: 2, saved; SIGINT: 130, saved; a second SIGINT: 130 at once"
