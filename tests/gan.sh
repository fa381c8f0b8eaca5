#!/bin/sh
# Every adversarial loss teaches by itself: one window of three frames, red on one side and blue
# on the other, is learnt from the discriminator alone, the pixel loss being weighted by 1e-6 and
# so only measured.  A grey output has the error that the run begins with.  Each loss must bring
# its mean over the last 100 iterations below a third of that, which no output without the two
# colours at their places does, and the discriminator must not win (accuracy, where it is told).
# R1 makes games over so few samples converge (Mescheder et al., 2018).  The gradient penalty does
# not, and wgangp circles around the solution for long: its discriminator is given more updates.
#
#   sh tests/gan.sh [LOSS...]       BIN=folder of the programs (bin)
set -eu
train=${BIN:-bin}/train
work=$(mktemp -d /tmp/kc-gan-XXXXXX)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

# frame F: luma with a texture, the border between the colours drifting.
frame()
{
	echo "P3 32 32 255"
	y=0
	while [ $y -lt 32 ]; do
		x=0
		while [ $x -lt 32 ]; do
			l=$((90 + (7 * x + 5 * y + 4 * $1) % 64))
			if [ $((x + $1)) -lt 16 ]; then
				echo "$((l + 50)) $((l - 10)) $((l - 40))"
			else
				echo "$((l - 50)) $l $((l + 60))"
			fi
			x=$((x + 1))
		done
		y=$((y + 1))
	done
}

mkdir -p "$work/clips/a"
for f in 0 1 2; do
	frame $f >"$work/clips/a/$f.ppm"
done

cat >"$work/run.yml" <<END
name: run
use_tb_logger: false
threads: 1
flow: dis
datasets:
  train:
    dataroot_GT: $work/clips
    keyframe_interval: 1
    n_workers: 0
    batch_size: 1
    GT_size: 32
    use_flip: false
    use_rot: false
network_G:
  init: random
  width: 0.125
  train_flow_keyNet: true
network_D:
  which_model_D: sn_patch
  n_layers: 2
  norm: none
  width: 0.25
gan:
  weight: 1
  lr_D: 1e-3
  beta1_D: 0
  r1_weight: 1
path:
  root: $work
train:
  lr_G: 3e-4
  beta1: 0
  beta2: 0.999
  pixel_weight: 1e-6
  srl_weight: 0
  niter: 300
  val_freq: 0
logger:
  print_freq: 10
  save_checkpoint_freq: 0
END

# values KEY FILE: those of the lines that have one.
values()
{
	sed -n "s/.*\"$1\": \([-+.e0-9]*\).*/\1/p" "$2"
}

for loss in ${*:-vanilla lsgan hinge wgangp ralsgan}; do
	more=
	[ "$loss" != wgangp ] ||
		more="--set gan.d_steps=3 --set gan.gp_weight=1 --set train.lr_G=2e-4"
	# shellcheck disable=SC2086
	"$train" -opt "$work/run.yml" --set name="$loss" --set gan.type="$loss" $more \
		>"$work/log" 2>&1 || { tail -n 3 "$work/log"; exit 1; }
	lines=$work/experiments/$loss/metrics.jsonl
	values l_pix "$lines" | awk -v loss="$loss" '
		NR == 1 { first = $1 }
		NR > 20 { sum += $1; n++ }
		END {
			printf "%s: error %.3f of that at the start\n", loss, sum / n / first
			exit !(sum / n < first / 3)
		}'
	values d_acc "$lines" | awk -v loss="$loss" '
		NR > 20 { sum += $1; n++ }
		END {
			if (n)
				printf "%s: accuracy %.2f\n", loss, sum / n
			exit !(!n || (sum / n > 0.4 && sum / n < 0.9))
		}'
done
