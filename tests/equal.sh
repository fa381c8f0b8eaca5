# Two runs in folders of $work, NAME/experiments/run: sourced by those that have fail.

without_time()
{
	sed 's/, "time": .*}$/}/' "$work/$1/experiments/run/metrics.jsonl"
}

same_bits()
{
	a=$work/$1/experiments/run b=$work/$2/experiments/run
	for file in $(cd "$a" && ls models/* training_state/*); do
		cmp "$a/$file" "$b/$file" || fail "$1 and $2: $file differs"
	done
	without_time "$1" >"$work/a"
	without_time "$2" >"$work/b"
	cmp "$work/a" "$work/b" || fail "$1 and $2: metrics differ: $(diff "$work/a" "$work/b")"
}

# Numbers of the metrics, line by line: the greatest relative difference, into $largest.
compare_numbers()
{
	without_time "$1" | tr -c '0-9.e+\n-' ' ' >"$work/a"
	without_time "$2" | tr -c '0-9.e+\n-' ' ' >"$work/b"
	[ "$(wc -l <"$work/a")" = "$(wc -l <"$work/b")" ] || fail "$1 and $2: other lines"
	largest=$(paste "$work/a" "$work/b" | awk '
		function abs(x) { return x < 0 ? -x : x }
		NF % 2 { bad = 1 }
		{
			for (i = 1; i <= NF / 2; i++) {
				x = $i + 0; y = $(i + NF / 2) + 0
				d = abs(x - y); m = abs(x)
				if (d > 0 && d / (m + 1e-30) > most)
					most = d / (m + 1e-30)
			}
		}
		END { printf "%.1e", bad || !NR ? 1 : most }')
	awk "BEGIN { exit !($largest < $3) }" || fail "$1 and $2 differ by $largest"
}
