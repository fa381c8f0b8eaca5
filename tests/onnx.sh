#!/bin/sh
# Networks as ONNX, in ONNX Runtime and here: onnx.sh PROGRAM (bin/onnx_case).
# Fetches the runtime with npm unless NODE_PATH has it; says so and succeeds where it cannot.
set -u
program=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT INT TERM

skip() {
	echo "onnx.sh: skipped: $*"
	exit 0
}
command -v node >/dev/null || skip "there is no node"
if ! node -e 'require("onnxruntime-node")' 2>/dev/null; then
	command -v npm >/dev/null || skip "there is no npm"
	# The package holds its CPU library; its scripts only fetch that of a GPU.
	npm install --prefix "$dir" --ignore-scripts --no-audit --no-fund onnxruntime-node \
		>"$dir/npm.log" 2>&1 || skip "npm cannot install onnxruntime-node"
	NODE_PATH=$dir/node_modules
	export NODE_PATH
fi

bad=0
# One file runs at every size where height and width are free.
while read -r network height width allowed; do
	"$program" "$network" "$height" "$width" "$allowed" "$dir/$network.onnx" "$dir/case" || bad=1
	[ "$network" = flownet2 ] && rm -f "$dir/$network.onnx"
done <<END
operators 16 24 2e-5
siggraph17 256 256 1e-4
siggraph17 320 192 1e-4
eccv16 64 64 1e-4
eccv16 128 64 1e-4
tcvc 64 64 1e-4
tcvc 64 128 1e-4
flownet2 64 128 1e-4
END
exit $bad
