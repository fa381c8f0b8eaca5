#!/bin/sh
# Files of weights between this program and PyTorch itself.
#
# 1. What bin/export writes, torch.load(weights_only=True) reads: the tensors of the fixtures
#    that PyTorch wrote.
# 2. Files that PyTorch writes with the formula's weights, in every form that checkpoints have, give
#    the networks the outputs of the fixtures (bin/golden --weights).
# 3. Training starts from the stand-in for TCVC's 80000_G.pth, strict and not, and goes on; what it
#    saves, PyTorch takes with load_state_dict(strict=True).
# 4. tools/torch_step.py, which is timed beside this program, computes what the fixtures say.
#
#   sh tests/torch.sh [FOLDER]      of fixtures and weights.tsv (tests/golden)
#   BIN=folder                      of the programs (bin)
#   PYTHON=command                  that has torch, 1.13 or later (python3); skips without it
#   TMPDIR=folder                   that the command sees as well
set -eu
golden=${1:-tests/golden}
bin=${BIN:-bin}
python=${PYTHON:-python3}
if ! $python -c 'import torch' 2>/dev/null; then
	echo "skipped: $python has no torch"
	exit 0
fi
dir=$(mktemp -d "${TMPDIR:-/tmp}/kc-torch-XXXXXX")
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM

fail()
{
	echo "torch.sh: $*" >&2
	exit 1
}

cat >"$dir/lib.py" <<'PY'
import numpy
import torch


def unit(name, n):
    """u of weights/formula.h for the n elements of a parameter"""
    h = 0xCBF29CE484222325
    for b in name.encode():
        h = (h ^ b) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    z = numpy.arange(n, dtype=numpy.uint64)
    z += numpy.uint64((h + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF)
    z = (z ^ z >> numpy.uint64(30)) * numpy.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ z >> numpy.uint64(27)) * numpy.uint64(0x94D049BB133111EB)
    return ((z ^ z >> numpy.uint64(31)) >> numpy.uint64(40)) / 16777216.0


def state_dict(table, net, prefix=""):
    """The parameters of a network as the table lists them, in its order"""
    out = torch.nn.ParameterDict().state_dict()
    for line in open(table).read().splitlines()[1:]:
        row = line.split("\t")
        if row[0] != net:
            continue
        shape = [int(d) for d in row[3].split(",") if d]
        n = int(numpy.prod(shape))
        x = float(row[4]) + float(row[5]) * (2 * unit(row[1], n) - 1)
        t = torch.from_numpy(x.astype(numpy.float32).reshape(shape))
        out[prefix + row[1]] = t.long() if row[2] == "zero" else t
    return out


def module(names):
    """A module with parameters of these names and shapes"""
    top = torch.nn.Module()
    for name, t in names.items():
        at, path = top, name.split(".")
        for part in path[:-1]:
            if part not in at._modules:
                at.add_module(part, torch.nn.Module())
            at = at._modules[part]
        at.register_buffer(path[-1], torch.empty_like(t))
    return top
PY

# ---- 1: what bin/export writes ----

cat >"$dir/compare.py" <<'PY'
import sys
import torch

ours = torch.load(sys.argv[2], weights_only=True)
theirs = torch.load(sys.argv[1], weights_only=False)
theirs = theirs.get("state_dict", theirs)
theirs = {name.replace("module.", "", 1): t for name, t in theirs.items()}
assert set(ours) == set(theirs), set(ours) ^ set(theirs)
for name, t in theirs.items():
    assert ours[name].dtype == t.dtype and ours[name].shape == t.shape, name
    assert torch.equal(ours[name], t), name
print(sys.argv[1], len(ours), "tensors equal")
PY
for name in state_dict dtypes_views module_prefix nested; do
	for form in zip legacy; do
		file=tests/golden/files/$name.$form.pth
		"$bin/export" -m "$file" -o "$dir/out.pth" --loose >/dev/null
		cp "$file" "$dir/in.pth"
		$python "$dir/compare.py" "$dir/in.pth" "$dir/out.pth" | sed "s,$dir/in.pth,$file,"
	done
done

# ---- 2: networks from files of PyTorch ----

cp "$golden/weights.tsv" "$dir/weights.tsv"
cat >"$dir/write.py" <<'PY'
import sys
from lib import *

folder, net = sys.argv[1:]
table = folder + "/weights.tsv"
if net == "siggraph17":
    w = state_dict(table, net)
    torch.save(w, folder + "/siggraph17.pth")
    w["model5.2.bias"][7] += 0.01
    torch.save(w, folder + "/wrong.pth")
elif net == "eccv16":
    torch.save(state_dict(table, net), folder + "/eccv16.pth",
               _use_new_zipfile_serialization=False)
elif net == "flownet2":
    torch.save({"arch": "FlowNet2", "epoch": 1, "best_EPE": torch.tensor(1.5),
                "state_dict": state_dict(table, net)}, folder + "/flownet2.pth")
elif net == "tcvc":
    torch.save(state_dict(table, net, "module."), folder + "/tcvc.pth")
PY
ran=
for net in siggraph17 eccv16 flownet2 tcvc; do
	$python "$dir/write.py" "$dir" "$net"
	for file in "$golden"/$net*.safetensors; do
		[ -f "$file" ] || continue
		"$bin/golden" --weights "$dir/$net.pth" "$file" ||
			fail "$file differs with weights of PyTorch"
		ran="$ran $net"
	done
done
"$bin/golden" --weights "$dir/wrong.pth" "$golden/siggraph17.safetensors" >/dev/null &&
	fail "a bias that is off by 0.01 changes nothing"
echo "networks:$ran"

# ---- 3: TCVC's file ----

# train NAME [OPTION...]: two steps more of a run under $dir/NAME.
train()
{
	name=$1
	shift
	"$bin/train" -opt "$dir/tcvc.yml" --set "path.root=$dir/$name" --auto-resume "$@" \
		>"$dir/log" 2>&1
}

cat >"$dir/tcvc.yml" <<END
name: run
flow: flownet2
datasets:
  train:
    dataroot_GT: $dir/clips
    keyframe_interval: 2
    batch_size: 1
    GT_size: 64
    n_workers: 1
path:
  pretrain_model_G: $dir/tcvc.pth
  pretrain_key_net: $dir/none.pth
  pretrain_flow: $dir/none.pth
train:
  niter: 2
logger:
  print_freq: 1
  save_checkpoint_freq: 2
END
mkdir "$dir/clips"
for clip in 0 1; do
	mkdir "$dir/clips/$clip"
	cp tests/golden/metrics/clip$clip/gt/*.png "$dir/clips/$clip"
done
train strict || { tail -n 3 "$dir/log"; fail "training does not start from tcvc.pth"; }
train strict --set train.niter=4 || fail "training does not go on"

cat >"$dir/check.py" <<'PY'
import sys
from lib import *

folder, steps = sys.argv[1:]
start = torch.load(folder + "/tcvc.pth")
start = {name[len("module."):]: t for name, t in start.items()}
whole = torch.load(folder + "/whole.pth", weights_only=True)
print(module(start).load_state_dict(whole, strict=True), "of the stand-in, converted")
assert list(whole) == sorted(start)
assert all(torch.equal(whole[name], t) for name, t in start.items())
# FlowNet2, which is never trained, is no part of what training saves.
start = {name: t for name, t in start.items() if not name.startswith("flow.")}
ours = torch.load(folder + "/trained.pth", weights_only=True)
print(module(start).load_state_dict(ours, strict=True), "of what", steps, "steps left")
moved = [name for name, t in start.items() if not torch.equal(ours[name].to(t.dtype), t)]
heads = [name for name in start if not name.startswith("fea_key.")]
assert sorted(moved) == sorted(heads), sorted(set(moved) ^ set(heads))[:8]
far = max(float((ours[name] - start[name]).abs().max()) for name in moved)
assert 5e-5 * (int(steps) - 1) < far < 5e-5 * (int(steps) + 1), far
print(len(moved), "tensors trained, the farthest by %.2g" % far)
PY
"$bin/export" -m "$dir/tcvc.pth" -o "$dir/whole.pth" >/dev/null
"$bin/export" -m "$dir/strict/experiments/run/models/4_G.safetensors" -o "$dir/trained.pth" \
	>/dev/null
$python "$dir/check.py" "$dir" 4

# A file that lacks a tensor and has one too many: refused when strict, told when not.
cat >"$dir/spoil.py" <<'PY'
import sys
from lib import *

w = torch.load(sys.argv[1] + "/tcvc.pth")
del w["module.weigting.conv3.bias"]
w["module.mean"] = torch.zeros(3)
torch.save(w, sys.argv[1] + "/spoilt.pth")
PY
$python "$dir/spoil.py" "$dir"
train spoilt --set "path.pretrain_model_G=$dir/spoilt.pth" &&
	fail "a file that lacks a tensor is taken as a whole one"
grep -q 'missing: weigting.conv3.bias; unexpected: module.mean' "$dir/log" ||
	{ cat "$dir/log"; fail "no word of what is missing"; }
train loose --set "path.pretrain_model_G=$dir/spoilt.pth" --set path.strict_load=false ||
	{ tail -n 3 "$dir/log"; fail "strict_load: false does not start from it"; }
grep -q 'missing: weigting.conv3.bias; unexpected: module.mean' "$dir/log" ||
	fail "no word of what is missing"
echo "strict_load: refused, and told when it is off"

# ---- 4: the step that is timed beside ours ----

cp tools/torch_step.py "$dir"
for name in tcvc_forward_net tcvc_train; do
	[ -f "$golden/$name.safetensors" ] || continue
	cp "$golden/$name.safetensors" "$dir"
	$python "$dir/torch_step.py" --device cpu --check "$dir/$name.safetensors" 2>"$dir/log" ||
		{ cat "$dir/log"; fail "tools/torch_step.py differs from $name"; }
done
