# Read by the scripts beside it: three clips of a moving texture, as PNM, below a folder.

clip_frame()
{
	echo "P3 40 36 255"
	y=0
	while [ $y -lt 36 ]; do
		x=0
		while [ $x -lt 40 ]; do
			u=$((x + $2))
			echo "$(((u * u / 3 + y * 5 * $1) % 256)) $(((u * 9 + y * y / 4) % 256))" \
				"$(((u * y / 2 + 40 * $1) % 256))"
			x=$((x + 1))
		done
		y=$((y + 1))
	done
}

make_clips()
{
	for clip in 1 2 3; do
		mkdir -p "$1/$clip"
		for f in 0 1 2 3 4; do
			clip_frame $clip $f >"$1/$clip/$f.ppm"
		done
	done
}
