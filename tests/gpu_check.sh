#!/bin/sh
# tools/gpu-check from end to end without a GPU: once with the programs of `make emulated` at small
# sizes, then with programs that fail, hang, lose the device or take too long.  Stand-ins for what
# a machine with a GPU has (nvidia-smi, compute-sanitizer, torch) go first in PATH.
#
#   sh tests/gpu_check.sh [FOLDER]    of the programs (build/emulated/bin)
set -eu
programs=$(cd "${1:-build/emulated/bin}" && pwd)
cd "$(dirname "$0")/.."
work=$(mktemp -d /tmp/kc-gpu-check-XXXXXX)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
python=$(command -v python3 || true)

fail() {
	echo "gpu_check.sh: $case: $*" >&2
	cat "$work/said" >&2
	[ ! -f "$work/out/report.md" ] || cat "$work/out/report.md" >&2
	exit 1
}

# stand_in FOLDER/NAME: a program of the lines on standard input.
stand_in() {
	mkdir -p "$(dirname "$work/$1")"
	{
		echo '#!/bin/sh'
		cat
	} >"$work/$1"
	chmod +x "$work/$1"
}

# run CASE STATUS [NAME=VALUE]...: the script with the stand-ins of that case.
run() {
	case=$1 want=$2
	shift 2
	status=0
	env PATH="$work/path:$PATH" GPU_CHECK_BIN="$work/$case" "$@" \
		sh tools/gpu-check "$work/out" >"$work/said" 2>&1 || status=$?
	[ $status = "$want" ] || fail "exit status $status, expected $want"
	[ -z "$python" ] || "$python" -m json.tool "$work/out/report.json" >/dev/null ||
		fail "report.json is not JSON"
}

# Each text must be somewhere in the page.
shows() {
	for text; do
		grep -qF -- "$text" "$work/out/report.md" || fail "the report lacks: $text"
	done
}

stand_in path/nvidia-smi <<'END'
case $* in
*compute_cap*) echo 9.0 ;;
-L) printf 'GPU 0: one\nGPU 1: two\n' ;;
*) echo "Stand-in, 1.2, 16 MiB" ;;
esac
END
stand_in path/compute-sanitizer <<'END'
echo "========= COMPUTE-SANITIZER"
while [ "${1#--}" != "$1" ]; do shift 2; done
"$@" || exit
echo "========= ERROR SUMMARY: 0 errors"
END
stand_in path/python3 <<'END'
[ "$1" = -c ] && exit 0
mode=eager
case $* in *--compile*) mode=compile ;; esac
case $* in *bf16*) precision=bf16 ;; *) precision=tf32 ;; esac
echo "a warning"
echo "{\"check\": \"torch\", \"ok\": true, \"mode\": \"$mode\", \"precision\": \"$precision\"," \
	"\"batch\": 4, \"frames\": 12, \"side\": 256, \"median_ms\": 1500.0, \"min_ms\": 1400.0," \
	"\"max_ms\": 1600.0, \"device_mb\": 30000, \"layout\": \"any\", \"torch\": \"2.0\", \"seconds\": 3.0}"
END

# ---- everything is in order ----

stand_in whole/gpu_check <<END
small="flow=dis datasets.train.keyframe_interval=1 datasets.train.batch_size=1
	datasets.train.GT_size=32 network_G.width=0.0625"
export OMP_NUM_THREADS=1 KC_EMULATED_DEVICES=2
case \$3 in
record | resume | parity) set -- "\$@" \$small ;;
bench) set -- "\$1" "\$2" bench "\$4" 2 \$6 \$small ;;
esac
exec "$programs/gpu_check" "\$@"
END
stand_in whole/golden <<END
case \$* in
*ops.safetensors) exec "$programs/golden" "\$@" ;;
esac
echo "1 passed, 0 failed"
END
run whole 0
shows "## Where the time of a step goes" "conv [cudnn conv]" "Stand-in" " passed, 0 failed, 0 left out" "| device | ok |" "cuda:0: emulator" \
	"| Kinemacolor | bf16 |" "| Kinemacolor | tf32 |" "| Kinemacolor | float32 |" \
	"| Kinemacolor, deterministic | bf16 |" "| PyTorch 2.0, eager, any | bf16 | 1500.0 (1400.0, 1600.0) |" \
	"| PyTorch 2.0, compile, any | bf16 |" "| PyTorch 2.0, eager, any | tf32 |" "| operators | ok |" \
	"| record | ok |" "| resume | ok |" "| parity | ok |" "| ranks-1 | ok |" \
	"| ranks-2 | ok |" "| fixture-ops | ok |" \
	"| fixture-ops-bf16 | ok |" "185 passed, 0 failed" \
	"| fixture-tcvc_train | ok |" "| sanitizer-racecheck | ok |" "ERROR SUMMARY: 0 errors"
! grep -q '| - | - | - | - |' "$work/out/report.md" || fail "a figure is missing"
[ ! -t 1 ] || cat "$work/out/report.md"

# ---- what can go wrong ----

# The same without any work: DO is what the check of that name does instead.
quick() {
	stand_in "$1/gpu_check" <<END
case \$3 in
$2) $3 ;;
esac
echo "{\"check\": \"\$3\", \"ok\": true, \"median_ms\": 100.0, \"off\": nan, \"seconds\": 0.1}"
END
	stand_in "$1/golden" <<END
echo "1 passed, 0 failed"
END
}

quick broken record 'echo "file.c:1: a \"bit\" \\ differs" >&2; echo "and more" >&2; exit 1'
run broken 1
shows "1 failed" "| record | FAILED |" 'file.c:1: a "bit" \ differs' "and more" "| parity | ok |"

quick crashed parity 'kill -SEGV $$'
run crashed 1
shows "| parity | FAILED |" "ended by signal 11"

quick killed parity 'kill -KILL $$'
run killed 1 GPU_CHECK_SECONDS=60
shows "| parity | FAILED |" "ended by signal 9"

quick late resume 'sleep 60'
run late 0 GPU_CHECK_SECONDS=14
shows "| resume | left out |" "no time was left, stopped after"

# Of its own time every check gets two seconds here.
timeout=$(command -v timeout)
stand_in path/timeout <<END
case \$1 in
-k) shift 3; exec "$timeout" -k 5 2 "\$@" ;;
esac
exec "$timeout" "\$@"
END
quick slow resume 'sleep 60'
run slow 1
shows "| resume | FAILED |" "stopped after 2 s"
rm "$work/path/timeout"

quick lost record "touch $work/gone; exit 1"
stand_in lost/gpu_check.real <"$work/lost/gpu_check"
stand_in lost/gpu_check <<END
[ -e "$work/gone" ] && exit 1
exec "$work/lost/gpu_check.real" "\$@"
END
run lost 1
shows "| record | FAILED |" "| bench-tf32 | left out | 0 | the device no longer answers |"

quick absent device 'echo "device cuda:0: there is no NVIDIA driver on this machine" >&2; exit 1'
run absent 1
shows "0 passed, 1 failed, 0 left out" "| device | FAILED |" "there is no NVIDIA driver"

stand_in path/compute-sanitizer <<'END'
echo "========= Error: Device not supported. Please refer to the list of supported devices"
exit 1
END
stand_in path/python3 <<'END'
exit 1
END
quick bare none :
run bare 0
shows "| sanitizer-memcheck | left out | 0 | Error: Device not supported." \
	"| torch | left out | 0 | python3 has no torch that sees the GPU |"

stand_in path/compute-sanitizer <<'END'
echo "========= COMPUTE-SANITIZER"
echo "========= Invalid __global__ read of size 4 bytes"
echo "========= ERROR SUMMARY: 1 error"
exit 9
END
quick found none :
run found 1
shows "| sanitizer-memcheck | FAILED | 0 | ========= Invalid __global__ read of size 4 bytes |"
echo "gpu_check.sh: passed"
