# Chance and time for scripts that kill: sourced by those that have set $seed.

# A number in [0, $1), into $random.
state=$((seed % 2147483648))
draw()
{
	state=$(((state * 1103515245 + 12345) % 2147483648))
	random=$((state / 65536 * $1 / 32768))
}

milliseconds()
{
	echo $(($(date +%s%N) / 1000000))
}

wait_ms()
{
	sleep "$(printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)))"
}
