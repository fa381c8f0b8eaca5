#!/bin/sh
# HDF5 files of weights between this program and h5py.
#
# 1. What bin/export writes, plain and compressed, h5py reads: every bit, shape and attribute.
# 2. What h5py writes is read bit for bit, or refused in words that say why.
#
#   sh tests/h5py.sh
#   BIN=folder        of the programs (bin)
#   PYTHON=command    that has h5py (python3, or that of the system); skips without it
set -eu
bin=${BIN:-bin}
python=
for p in ${PYTHON:-python3 /usr/bin/python3}; do
	if "$p" -c 'import h5py' 2>/dev/null; then
		python=$p
		break
	fi
done
if [ -z "$python" ]; then
	echo "skipped: no python3 with h5py"
	exit 0
fi
dir=$(mktemp -d /tmp/kc-h5py-XXXXXX)
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM

cat >"$dir/lib.py" <<'PY'
import json
import struct

import h5py
import numpy

KINDS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4",
         "I16": "<i2", "I8": "i1", "U8": "u1", "BOOL": "?"}


def safetensors(path):
    """name: (dtype, array), and the metadata without checksums"""
    data = open(path, "rb").read()
    end = 8 + struct.unpack("<Q", data[:8])[0]
    head = json.loads(data[8:end])
    notes = {k: v for k, v in head.pop("__metadata__", {}).items() if not k.startswith("xxh64")}
    out = {}
    for name, t in head.items():
        a, b = t["data_offsets"]
        x = numpy.frombuffer(data[end + a:end + b], KINDS[t["dtype"]])
        out[name] = t["dtype"], x.reshape(t["shape"])
    return out, notes


def texts(attributes):
    """Our texts are of fixed length, which h5py gives as bytes"""
    return {k: bytes(v).decode() for k, v in attributes.items()}


def same(x, y):
    return x.shape == y.shape and x.dtype == y.dtype and x.tobytes() == y.tobytes()
PY

# ---- 1: what bin/export writes ----

cat >"$dir/read.py" <<'PY'
import sys
from lib import *

tensors, notes = safetensors(sys.argv[1])
filters = 0
with h5py.File(sys.argv[2], "r") as f:
    g = f["model"]
    assert set(g) == set(tensors), set(g) ^ set(tensors)
    for name, (dtype, x) in tensors.items():
        assert same(g[name][()], x), name
        about = texts(g[name].attrs)
        assert about["dtype"] == dtype, name
        assert not x.size or len(about["xxh64"]) == 16, name
        filters += g[name].compression == "gzip"
    assert texts(g.attrs) == notes, (texts(g.attrs), notes)
assert (filters > 0) == (sys.argv[3] == "compressed"), filters
print("h5py reads", len(tensors), "tensors,", filters, "compressed,", len(notes), "notes")
PY
for file in dtypes_views nested; do
	"$bin/export" -m "tests/golden/files/$file.zip.pth" -o "$dir/a.safetensors" --loose --mask-cent 0.5 >/dev/null
	"$bin/export" -m "$dir/a.safetensors" -o "$dir/a.h5" --loose >/dev/null
	"$python" "$dir/read.py" "$dir/a.safetensors" "$dir/a.h5" plain
done
# compressed NAME LEVEL: the tensors of $dir/NAME
compressed()
{
	"$bin/export" -m "$dir/$1" -o "$dir/a.safetensors" --loose >/dev/null
	"$bin/export" -m "$dir/a.safetensors" -o "$dir/a.h5" --loose --compress "$2" >/dev/null
	"$python" "$dir/read.py" "$dir/a.safetensors" "$dir/a.h5" compressed
}

# ---- 2: what h5py writes ----

cat >"$dir/write.py" <<'PY'
import sys
from lib import *

x = numpy.random.RandomState(1).randn(40, 30, 3).astype("f4")
chunks = dict(data=x, chunks=(7, 30, 2))
READ, REFUSED = {}, {}
for t in "f2 f4 f8 i1 i2 i4 i8 u1 ?".split():
    READ["type " + t] = lambda g, t=t: g.create_dataset("w", data=(x * 9).astype(t))
READ["scalar"] = lambda g: g.create_dataset("w", data=numpy.float32(3))
READ["no elements"] = lambda g: g.create_dataset("w", data=numpy.zeros((0, 4), "f4"))
READ["chunks"] = lambda g: g.create_dataset("w", **chunks)
READ["gzip"] = lambda g: g.create_dataset("w", compression="gzip", **chunks)
READ["gzip, shuffle, checksum"] = lambda g: g.create_dataset(
    "w", compression="gzip", compression_opts=9, shuffle=True, fletcher32=True, **chunks)
READ["may grow"] = lambda g: g.create_dataset("w", maxshape=(None, 30, 3), **chunks)
READ["may grow both ways"] = lambda g: g.create_dataset("w", maxshape=(None, None, 3), **chunks)
READ["by name twice"] = lambda g: g.__setitem__("v", g.create_dataset("w", data=x))
BIG = "big-endian %s of %d bytes"
REFUSED["big-endian f4"] = BIG % ("float", 4), lambda g: g.create_dataset("w", data=x.astype(">f4"))
REFUSED["big-endian i8"] = BIG % ("integer", 8), lambda g: g.create_dataset(
    "w", data=x.astype(">i8"))
REFUSED["u4"] = "unsigned integer of 4 bytes", lambda g: g.create_dataset("w", data=x.astype("u4"))
REFUSED["complex"] = "neither a float nor an integer", lambda g: g.create_dataset(
    "w", data=x.astype("c8"))
REFUSED["texts"] = "neither a float nor an integer", lambda g: g.create_dataset("w", data="text")
REFUSED["lzf"] = "a foreign filter", lambda g: g.create_dataset("w", compression="lzf", **chunks)
REFUSED["scale and offset"] = "a foreign filter", lambda g: g.create_dataset(
    "w", scaleoffset=2, **chunks)
REFUSED["a group"] = "no dataset", lambda g: g.create_group("w").create_dataset("v", data=x)
REFUSED["a soft link"] = "a link to elsewhere", lambda g: g.__setitem__(
    "w", h5py.SoftLink("/model/v"))
REFUSED["another file"] = "a link to elsewhere", lambda g: g.__setitem__(
    "w", h5py.ExternalLink("a.h5", "/model/v"))
REFUSED["a reference"] = "neither a float nor an integer", lambda g: g.create_dataset(
    "w", data=g.ref, dtype=h5py.ref_dtype)


def write(path, fill, version):
    with h5py.File(path, "w", libver=version) as f:
        g = f.create_group("model")
        g.attrs["mask_cent"] = "0.5"
        g.attrs["numbers"] = numpy.arange(3)
        fill(g)


folder, number = sys.argv[1], 0
for version in "earliest", "latest":
    for name, fill in READ.items():
        number += 1
        write("%s/%d.h5" % (folder, number), fill, version)
        print("%d|read||%s, %s" % (number, name, version))
    for name, (words, fill) in REFUSED.items():
        number += 1
        write("%s/%d.h5" % (folder, number), fill, version)
        print("%d|refused|%s|%s, %s" % (number, words, name, version))
PY
cat >"$dir/compare.py" <<'PY'
import sys
from lib import *

tensors, notes = safetensors(sys.argv[2])
with h5py.File(sys.argv[1], "r") as f:
    assert set(f["model"]) == set(tensors)
    for name, (dtype, x) in tensors.items():
        assert same(f["model"][name][()], x), name
assert notes == {"mask_cent": "0.5"}, notes
PY
"$python" "$dir/write.py" "$dir" >"$dir/cases"
bad=0 read=0 refused=0
while IFS='|' read -r number what words name; do
	status=0
	"$bin/export" -m "$dir/$number.h5" -o "$dir/out.safetensors" --loose >"$dir/log" 2>&1 ||
		status=$?
	if [ "$what" = read ] && [ $status = 0 ] &&
		"$python" "$dir/compare.py" "$dir/$number.h5" "$dir/out.safetensors"; then
		read=$((read + 1))
	elif [ "$what" = refused ] && [ $status = 1 ] && grep -q "$words" "$dir/log"; then
		refused=$((refused + 1))
	else
		echo "FAIL $name: expected to be $what $words; $(cat "$dir/log")"
		bad=$((bad + 1))
	fi
done <"$dir/cases"
echo "of h5py's files $read read bit for bit, $refused refused by name, $bad wrong"
[ $bad = 0 ]
compressed 1.h5 9
compressed 5.h5 1
