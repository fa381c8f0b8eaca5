# The lines of tools/gpu-check as a page to read.  Of the environment: machine, its facts; out, the
# folder of the logs; took, seconds.

# The text or number behind the first "key": of an object's text; "" without one.
function get(text, key,    at) {
	at = index(text, "\"" key "\": ")
	if (!at)
		return ""
	text = substr(text, at + length(key) + 4)
	if (text ~ /^"/) {
		match(text, /^"([^"\\]|\\.)*"/)
		text = substr(text, 2, RLENGTH - 2)
		gsub(/\\"/, "\"", text)
		gsub(/\\\\/, "\\", text)
		return text
	}
	match(text, /^[^,}]*/)
	return substr(text, 1, RLENGTH)
}

# Members of the object but for those that stand elsewhere.
function figures(text,    list, one, key) {
	while (match(text, /"[^"]*": ("([^"\\]|\\.)*"|[^,}]*)/)) {
		one = substr(text, RSTART, RLENGTH)
		text = substr(text, RSTART + RLENGTH)
		key = substr(one, 2, index(substr(one, 2), "\"") - 1)
		if (key ~ /^(check|ok|failures|seconds)$/)
			continue
		sub(/": "?/, " ", one)
		gsub(/^"|"$/, "", one)
		list = list (list ? ", " : "") one
	}
	return list
}

function cell(text) {
	gsub(/\|/, "\\|", text)
	return text
}

# The first lines of a log that tell of something bad.
function block(file, most,    line, n) {
	while (n < most && (getline line < file) > 0) {
		if (line ~ /^ok |^  [A-Z]+ +[a-z]/)
			continue
		if (!n++)
			print "\n```"
		print substr(line, 1, 160)
	}
	close(file)
	if (n)
		print "```"
}

# Of every table of a profile the head, the first 20 rows and the sum.
function profile(file,    line, n, row) {
	while ((getline line < file) > 0) {
		if (line ~ /^ *steps +ms\/run /)
			row = 0
		if (row++ > 20 && line !~ / all$/)
			continue
		if (!n++)
			print "\n## Where the time of a step goes (bf16)\n\n```"
		if (row == 1 && n > 1)
			print ""
		print substr(line, 1, 160)
	}
	close(file)
	if (n)
		print "```"
}

{
	name[NR] = get($0, "name")
	ok[NR] = get($0, "ok")
	seconds[NR] = get($0, "seconds")
	why[NR] = get($0, "why")
	at = index($0, "\"figures\": ")
	shown[NR] = at ? substr($0, at + 11, length($0) - at - 11) : ""
	count[ok[NR]]++
	profiled = profiled || name[NR] == "bench-bf16" && ok[NR] == "true"
	if (name[NR] ~ /^(bench|torch-)/ && ok[NR] == "true") {
		step[++steps] = NR
		if (name[NR] ~ /^bench-/ && !(get(shown[NR], "precision") in ours))
			ours[get(shown[NR], "precision")] = get(shown[NR], "median_ms")
	}
}

function or_dash(text) {
	return text == "" ? "-" : text
}

function step_row(r,    f, precision, ms, who, ratio, rate, peak) {
	f = shown[r]
	precision = get(f, "precision")
	ms = get(f, "median_ms")
	if (name[r] ~ /^bench/)
		who = "Kinemacolor" (get(f, "deterministic") == "true" ? ", deterministic" : "")
	else
		who = "PyTorch " get(f, "torch") ", " get(f, "mode") ", " get(f, "layout")
	if (ours[precision] > 0)
		ratio = sprintf("%.2f", ms / ours[precision])
	if (ms > 0)
		rate = sprintf("%.1f", 1000 * get(f, "batch") * get(f, "frames") / ms)
	if (get(f, "peak_tflops") > 0)
		peak = sprintf("%.1f %% of %s", 100 * get(f, "of_peak"), get(f, "peak_tflops"))
	printf "| %s | %s | %s (%s, %s) | %s | %s | %s | %s | %s | %s |\n", who, precision, ms,
		get(f, "min_ms"), get(f, "max_ms"), or_dash(get(f, "device_ms")), or_dash(ratio),
		or_dash(rate), or_dash(get(f, "tflops")), or_dash(peak), or_dash(get(f, "device_mb"))
}

END {
	print "# Checks on a GPU\n"
	out = ENVIRON["out"]
	print cell(figures(ENVIRON["machine"])) ".\n"
	printf "%d passed, %d failed, %d left out, in %d s.\n", count["true"], count["false"],
		count["null"], ENVIRON["took"]
	for (r = 1; r <= NR; r++)
		if (ok[r] == "false") {
			if (!headed++)
				print "\n## Failed"
			print "\n**" name[r] "**: " why[r]
			block(out "/" name[r] ".log", 12)
		}
	if (steps) {
		f = shown[step[1]]
		print "\n## Training step\n"
		printf "siggraph17 and FlowNet 2.0, %s windows of %s frames, %s x %s.\n\n",
			get(f, "batch"), get(f, "frames"), get(f, "side"), get(f, "side")
		print "| | precision | ms (least, most) | on the device | times ours | frames/s " \
			"| TFLOP/s | of the measured peak, TFLOP/s | memory, MB |"
		print "|---|---|---|---|---|---|---|---|---|"
		for (i = 1; i <= steps; i++)
			step_row(step[i])
	}
	if (profiled)
		profile(out "/bench-bf16.log")
	if (NR) {
		print "\n## Checks\n\n| check | result | seconds | figures |\n|---|---|---|---|"
		for (r = 1; r <= NR; r++)
			printf "| %s | %s | %s | %s |\n", name[r],
				ok[r] == "true" ? "ok" : ok[r] == "null" ? "left out" : "FAILED", seconds[r],
				cell(why[r] == "" ? figures(shown[r]) : why[r])
	}
}
