#!/bin/sh
# tools/ptxas.sh [NVCC]: compiles every kernel of layers/cuda for GPUs from Ampere to Blackwell and
# prints registers, barriers and shared memory of each.  Fails on registers spilled to memory.
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
		if ($0 !~ / 0 bytes spill stores, 0 bytes spill loads/) spill = "SPILLS" }
	/Used [0-9]+ registers/ { used = $0; sub(/.*Used /, "", used); print arch, name, used, spill }'
}
cat=$(command -v c++filt || echo cat)
for file in layers/cuda/*.cu; do
	# shellcheck disable=SC2086
	"$nvcc" -std=c++17 -O3 $gencode -Xptxas -v -I. -fatbin "$file" -o "$tmp/out" 2>"$tmp/log" || {
		cat "$tmp/log"
		exit 1
	}
	echo "$file"
	table <"$tmp/log" | sort -k2 -k1 | "$cat" | tee -a "$tmp/all" | sed 's/^/  /'
done
echo "$(wc -l <"$tmp/all") compiled kernels, $(grep -c SPILLS "$tmp/all") with spills"
! grep -q SPILLS "$tmp/all"
