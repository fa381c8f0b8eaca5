#!/bin/sh
# Rules that a compiler does not check: the direction of includes, one wrapper per third-party
# header and folder, banned functions, width and length of files.  Prints what breaks them.
set -u
cd "$(dirname "$0")/.."
bad=0
say() {
	echo "$*"
	bad=1
}

# Which of our folders a folder may include from (itself always).
allowed() {
	case $1 in
	core) echo "core" ;;
	layers) echo "core layers" ;;
	losses) echo "core layers losses" ;;
	models) echo "core layers models" ;;
	weights | data) echo "core $1" ;;
	train) echo "core layers losses models weights data train" ;;
	eval) echo "core layers losses models weights data eval" ;;
	esac
}
for folder in core layers losses models weights data train eval; do
	for file in $(git ls-files "$folder/*.c" "$folder/*.h" "$folder/*.cpp" "$folder/*.cu" "$folder/*.def" "$folder/*.inc"); do
		for from in $(sed -n 's|^#include "\([a-z]*\)/.*|\1|p' "$file" | sort -u); do
			case " $(allowed $folder) " in
			*" $from "*) ;;
			*) say "$file: includes from $from/, which $folder/ must not know" ;;
			esac
		done
		grep -n '^#include "[^/]*"' "$file" | while read -r line; do
			echo "$file:$line: write includes from the root"
		done | grep . && bad=1
	done
done

# header pattern -> at most one file per folder
for header in 'dnnl' 'cudnn' 'cublas' 'yaml\.h' 'hdf5\.h' 'mpi\.h' 'opencv2'; do
	git grep -lE "^#include <[^>]*$header" -- '*.c' '*.h' '*.cpp' '*.cu' ':!tests' | xargs -r -n1 dirname | sort |
		uniq -d | while read -r dir; do echo "$dir: $header is included by more than one file"; done |
		grep . && bad=1
done

git grep -nwE '(strcpy|strcat|sprintf|vsprintf|strtok|atoi|atol|atof|alloca|gets|rand|srand|system|popen)[[:space:]]*\(' \
	-- '*.c' '*.h' '*.cpp' '*.cu' | grep . && bad=1
git grep -nE 'TODO|FIXME|XXX|HACK' -- '*.c' '*.h' '*.cpp' '*.cu' Makefile | grep -v mkdtemp | grep -v 'XXXXXX' | grep . && bad=1

for file in $(git ls-files '*.c' '*.h' '*.cpp' '*.cu'); do
	expand -t8 "$file" | awk -v f="$file" 'length($0) > 100 { print f ":" NR ": " length($0) " columns"; bad = 1 }
		END { exit bad }' || bad=1
	n=$(wc -l <"$file")
	[ "$n" -le 700 ] || say "$file: $n lines; split it by job"
done
[ $bad = 0 ] && echo "lint: clean"
exit $bad
