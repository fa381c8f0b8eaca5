#!/bin/sh
# What bin/export writes, read by PyTorch itself: torch.load(weights_only=True) must give the
# tensors of the fixtures that PyTorch wrote.  Needs python3 with torch 1.13 or later.
# usage: sh tests/torch.sh [folder of programs]
bin=${1:-bin}
if ! python3 -c 'import torch' 2>/dev/null; then
	echo "skipped: python3 has no torch"
	exit 0
fi
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
for name in state_dict dtypes_views module_prefix nested; do
	for form in zip legacy; do
		file=tests/golden/files/$name.$form.pth
		"$bin/export" -m "$file" -o "$dir/out.pth" --loose >/dev/null || exit 1
		python3 - "$file" "$dir/out.pth" <<'PY' || exit 1
import sys
import torch

ours = torch.load(sys.argv[2], weights_only=True)
theirs = torch.load(sys.argv[1])
theirs = theirs.get("state_dict", theirs)
theirs = {name.removeprefix("module."): t for name, t in theirs.items()}
assert set(ours) == set(theirs), set(ours) ^ set(theirs)
for name, t in theirs.items():
    assert ours[name].dtype == t.dtype and ours[name].shape == t.shape, name
    assert torch.equal(ours[name], t), name
print(sys.argv[1], len(ours), "tensors equal")
PY
	done
done
