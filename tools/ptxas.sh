#!/bin/sh
# tools/ptxas.sh [NVCC]: compiles every kernel of layers/cuda for GPUs from Ampere to Blackwell and
# prints registers, barriers and shared memory of each, and which have the most.  Fails where a
# kernel keeps registers or arrays in memory of its own, and where one that is written for packs of
# sixteen bytes has no access of that size.
set -u
cd "$(dirname "$0")/.."
nvcc=${1:-nvcc}
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
known=$("$nvcc" --list-gpu-code) || exit 1
gencode=
for arch in 80 89 90 100 120; do
	echo "$known" | grep -qx "sm_$arch" || continue
	gencode="$gencode -gencode arch=compute_$arch,code=sm_$arch"
done

# One line per kernel and architecture from what ptxas -v says.
table() {
	awk '
	/Compiling entry function/ { name = $0; sub(/.*function ./, "", name); sub(/\047.*/, "", name)
		arch = $0; sub(/.*for ./, "", arch); sub(/\047.*/, "", arch) }
	/bytes stack frame/ { spill = ""
		if ($0 !~ /^ *0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads/)
			spill = "SPILLS" }
	/Used [0-9]+ registers/ { used = $0; sub(/.*Used /, "", used); print arch, name, used, spill }'
}
# Of the kernels for packs in PTX, those without an access of sixteen bytes.
apart() {
	awk 'function report() {
		if (name ~ /kc_packs|quad_dense|(finish|sum_[a-z]+)I(fLi4|7kc_bf16Li8)E|run_chain|move_boxes|5tiles/ &&
		    !wide)
			print name
		wide = 0
	}
	/\.entry/ { report(); name = $0; sub(/.*entry /, "", name); sub(/\(.*/, "", name) }
	/(ld|st)\.global\.v4\./ { wide = 1 }
	END { report() }' "$1"
}
cat=$(command -v c++filt || echo cat)
for file in layers/cuda/*.cu; do
	# shellcheck disable=SC2086
	"$nvcc" -std=c++17 -O3 $gencode -Xptxas -v -I. -fatbin "$file" -o "$tmp/out" 2>"$tmp/log" || {
		cat "$tmp/log"
		exit 1
	}
	"$nvcc" -std=c++17 -O3 -arch=compute_80 -I. -ptx "$file" -o "$tmp/ptx" || exit 1
	apart "$tmp/ptx" | "$cat" >>"$tmp/apart"
	echo "$file"
	table <"$tmp/log" | sort -k2 -k1 | "$cat" | tee -a "$tmp/all" | sed 's/^/  /'
done
# The line with the largest number before that word.
most() {
	sed -nE "s/.*[ ,]([0-9]+) $1.*/\1 &/p" "$tmp/all" | sort -rn | sed 's/^[0-9]* //; s/^/  /;q'
}
echo "the most registers, the most shared memory:"
most registers
most "bytes smem"
echo "$(wc -l <"$tmp/all") compiled kernels, $(grep -c SPILLS "$tmp/all") with spills"
sed 's/^/packs taken apart: /' "$tmp/apart"
! grep -q SPILLS "$tmp/all" && [ ! -s "$tmp/apart" ]
