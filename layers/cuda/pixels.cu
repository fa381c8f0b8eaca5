#include "layers/cuda/pixels.h"
#include "layers/cuda/kernel.h"

struct triple { float v[3]; };

KC_DEVICE triple load3(const kc_cu_pixels &a, int64_t p)
{
	int64_t at = kc_cu_at(a.x, p);

	return {{kc_cu_get(a.x, at), kc_cu_get(a.x, at + a.xc), kc_cu_get(a.x, at + 2 * a.xc)}};
}

KC_DEVICE void store3(const kc_cu_pixels &a, int64_t p, const triple &t)
{
	int64_t at = kc_cu_at(a.y, p);

#pragma unroll
	for (int c = 0; c < 3; c++)
		kc_cu_write(a.y.data, a.y.dtype, at + c * a.yc, t.v[c]);
}

KC_DEVICE triple product(const double (&m)[3][3], const triple &x)
{
	triple y;

#pragma unroll
	for (int i = 0; i < 3; i++)
		y.v[i] = (float)m[i][0] * x.v[0] + (float)m[i][1] * x.v[1] +
			 (float)m[i][2] * x.v[2];
	return y;
}

/* ---- colour (layers/colour.c) ---- */

/*
 * a and b are differences of cube roots times 500 and 200, so these are computed in double, by a
 * step of Newton's from the root in float32: a few products where a library's functions in
 * double would be a hundred.
 */
KC_DEVICE double cube_root(double x)
{
	double y = cbrtf((float)x), square = y * y;

	return y - (float)(square * y - x) / (float)(3 * square);
}

/* x^2.4 = x^2 y with y^5 = x^2, for x well above 0. */
KC_DEVICE double power_of_rgb(double x)
{
	double square = x * x, y = powf((float)x, 0.4f), fourth = y * y * y * y;

	return square * (y - (float)(fourth * y - square) / (float)(5 * fourth));
}

KC_DEVICE double linear_of(const kc_cu_lab &l, double c)
{
	return c > l.srgb_knee ? power_of_rgb((c + 0.055) * (1 / 1.055)) : c * (1 / 12.92);
}

KC_KERNEL void KC_BOUNDS(KC_CU_THREADS)
	rgb_to_lab(KC_CONSTANT kc_cu_pixels a, KC_CONSTANT kc_cu_lab l)
{
	KC_GRID_LOOP(p, a.n) {
		triple rgb = load3(a, p);
		double linear[3], f[3];

#pragma unroll
		for (int i = 0; i < 3; i++)
			linear[i] = linear_of(l, rgb.v[i]);
#pragma unroll
		for (int i = 0; i < 3; i++) {
			const double *m = l.xyz_of_rgb[i];
			double t = m[0] * linear[0] + m[1] * linear[1] + m[2] * linear[2];

			f[i] = t > l.xyz_knee ? cube_root(t) : l.slope * t + l.offset;
		}
		store3(a, p, {{(float)(116 * f[1] - 16), (float)(500 * (f[0] - f[1])),
			       (float)(200 * (f[1] - f[2]))}});
	}
}

/*
 * With d = f - offset, as black is 0 in d exactly; f^3 where f > knee.  Returns the luminance.
 */
KC_DEVICE float lab_to_linear(const kc_cu_lab &l, const triple &lab, triple *linear)
{
	float offset = (float)l.offset, slope = (float)l.slope;
	triple d, xyz;

	d.v[1] = lab.v[0] / 116;
	d.v[0] = lab.v[1] / 500 + d.v[1];
	d.v[2] = fmaxf(d.v[1] - lab.v[2] / 200, -offset);
#pragma unroll
	for (int i = 0; i < 3; i++) {
		float f = d.v[i] + offset;

		xyz.v[i] = (float)l.white[i] * (f > (float)l.lab_knee ? f * f * f : d.v[i] / slope);
	}
	*linear = product(l.rgb_of_xyz, xyz);
	return xyz.v[1];
}

KC_DEVICE float encode(const kc_cu_lab &l, float c)
{
	return c > (float)l.linear_knee ? 1.055f * powf(c, 1 / 2.4f) - 0.055f : 12.92f * c;
}

/* The part of the way from grey y to the colour that stays within 0 .. 1. */
KC_DEVICE void fit_gamut(float y, triple *linear)
{
	float part = 1;

	y = fminf(fmaxf(y, 0), 1);
#pragma unroll
	for (int i = 0; i < 3; i++) {
		float c = linear->v[i];

		if (c < 0)
			part = fminf(part, y / (y - c));
		else if (c > 1)
			part = fminf(part, (1 - y) / (c - y));
	}
#pragma unroll
	for (int i = 0; i < 3; i++) {
		float c = part < 1 ? y + part * (linear->v[i] - y) : linear->v[i];

		linear->v[i] = fminf(c, 1);
	}
}

KC_KERNEL void KC_BOUNDS(KC_CU_THREADS)
	lab_to_rgb(KC_CONSTANT kc_cu_pixels a, KC_CONSTANT kc_cu_lab l, int fit)
{
	KC_GRID_LOOP(p, a.n) {
		triple linear;
		float y = lab_to_linear(l, load3(a, p), &linear);

		if (fit)
			fit_gamut(y, &linear);
#pragma unroll
		for (int i = 0; i < 3; i++)
			linear.v[i] = encode(l, fmaxf(linear.v[i], 0));
		store3(a, p, linear);
	}
}

extern "C" int kc_cu_rgb_to_lab(const struct kc_cu_pixels *a, const struct kc_cu_lab *l,
				cudaStream_t stream)
{
	KC_LAUNCH(rgb_to_lab, dim3(kc_cu_blocks(a->n)), dim3(KC_CU_THREADS), 0, stream, *a, *l);
	return kc_cu_status();
}

extern "C" int kc_cu_lab_to_rgb(const struct kc_cu_pixels *a, const struct kc_cu_lab *l, int fit,
				cudaStream_t stream)
{
	KC_LAUNCH(lab_to_rgb, dim3(kc_cu_blocks(a->n)), dim3(KC_CU_THREADS), 0, stream, *a, *l,
		  fit);
	return kc_cu_status();
}

/* ---- bins (layers/bins.c): a warp per pixel, ten bins per lane ---- */

enum { BINS = KC_CU_BINS, NEAREST = KC_CU_NEAREST, LANES = 32, EACH = (BINS + LANES - 1) / LANES };
static const float SPREAD = 2 * KC_CU_SIGMA * KC_CU_SIGMA;

/* Of equal distances the lower bin comes first. */
KC_DEVICE bool nearer(double d, int bin, double than, int than_bin)
{
	return d < than || (d == than && bin < than_bin);
}

struct nearest { double distance; int bin; };

/* The nearest of all lanes' bins that are not taken yet. */
KC_DEVICE nearest next_bin(const double *d, unsigned taken, int lane)
{
	nearest n = {1e300, BINS};

#pragma unroll
	for (int k = 0; k < EACH; k++)
		if (!(taken >> k & 1) && nearer(d[k], lane + k * LANES, n.distance, n.bin))
			n = {d[k], lane + k * LANES};
	for (int by = LANES / 2; by; by /= 2) {
		double distance = __shfl_xor_sync(0xffffffffu, n.distance, by);
		int bin = __shfl_xor_sync(0xffffffffu, n.bin, by);

		if (nearer(distance, bin, n.distance, n.bin))
			n = {distance, bin};
	}
	return n;
}

/* Distances in double: which bins are the nearest shall not hang on rounding. */
KC_DEVICE void distances(double a, double b, const float (*bins)[2], int lane, double *d)
{
#pragma unroll
	for (int k = 0; k < EACH; k++) {
		int q = lane + k * LANES;
		double da = q < BINS ? a - bins[q][0] : 1e150, db = q < BINS ? b - bins[q][1] : 0;

		d[k] = da * da + db * db;
	}
}

KC_KERNEL void KC_BOUNDS(KC_CU_THREADS)
	soft_encode(KC_CONSTANT kc_cu_pixels a, const float (*bins)[2])
{
	int64_t warps = (int64_t)gridDim.x * (blockDim.x / LANES);
	int lane = threadIdx.x % LANES;

	for (int64_t p = (blockIdx.x * (int64_t)blockDim.x + threadIdx.x) / LANES; p < a.n;
	     p += warps) {
		int64_t from = kc_cu_at(a.x, p), to = kc_cu_at(a.y, p);
		float first = 0, weight[NEAREST], sum = 0;
		double d[EACH];
		unsigned taken = 0;

		distances(kc_cu_get(a.x, from), kc_cu_get(a.x, from + a.xc), bins, lane, d);
#pragma unroll
		for (int r = 0; r < NEAREST; r++) {
			nearest n = next_bin(d, taken, lane);

			first = r ? first : (float)n.distance;
			weight[r] = (float)n.distance;
			if (n.bin % LANES == lane)
				taken |= 1u << n.bin / LANES;
		}
#pragma unroll
		for (int r = NEAREST - 1; r >= 0; r--)
			sum += expf((first - weight[r]) / SPREAD);
#pragma unroll
		for (int k = 0; k < EACH; k++)
			if (lane + k * LANES < BINS)
				kc_cu_write(a.y.data, a.y.dtype, to + (lane + k * LANES) * a.yc,
					    taken >> k & 1 ?
						    expf((first - (float)d[k]) / SPREAD) / sum :
						    0);
	}
}

extern "C" int kc_cu_soft_encode(const struct kc_cu_pixels *a, const float (*bins)[2],
				 cudaStream_t stream)
{
	KC_LAUNCH_BLOCK(soft_encode, dim3(kc_cu_blocks(a->n * LANES)), dim3(KC_CU_THREADS), 0,
			stream, *a, bins);
	return kc_cu_status();
}

KC_DEVICE int grid_index(double normalised)
{
	return (int)fmin(fmax(rint((normalised * 110 + 110) / 10), 0.0), KC_CU_SIDE - 1.0);
}

KC_KERNEL void KC_BOUNDS(KC_CU_THREADS) hard_encode(KC_CONSTANT kc_cu_pixels a)
{
	KC_GRID_LOOP(p, a.n) {
		int64_t from = kc_cu_at(a.x, p);
		int ia = grid_index(kc_cu_get(a.x, from));
		int ib = grid_index(kc_cu_get(a.x, from + a.xc));

		((int32_t *)a.y.data)[kc_cu_at(a.y, p)] = ia * KC_CU_SIDE + ib;
	}
}

extern "C" int kc_cu_hard_encode(const struct kc_cu_pixels *a, cudaStream_t stream)
{
	KC_LAUNCH(hard_encode, dim3(kc_cu_blocks(a->n)), dim3(KC_CU_THREADS), 0, stream, *a);
	return kc_cu_status();
}

/* ---- norm over channels: some neighbouring lanes per pixel ---- */

/* All lanes of a warp go the same rounds, also beyond the last pixel: they meet in the shuffles. */
template <int G>
KC_KERNEL void KC_BOUNDS(KC_CU_THREADS) channel_norm(KC_CONSTANT kc_cu_pixels a)
{
	int64_t step = (int64_t)gridDim.x * (blockDim.x / G), first = threadIdx.x / G;
	int lane = threadIdx.x % G;

	for (int64_t base = blockIdx.x * (int64_t)(blockDim.x / G); base < a.n; base += step) {
		int64_t p = base + first, from = p < a.n ? kc_cu_at(a.x, p) : 0;
		float sum = 0;

		for (int64_t c = lane; c < a.channels && p < a.n; c += G) {
			float v = kc_cu_get(a.x, from + c * a.xc);

			sum += v * v;
		}
		for (int by = G / 2; by; by /= 2)
			sum += __shfl_xor_sync(0xffffffffu, sum, by);
		if (lane == 0 && p < a.n)
			kc_cu_write(a.y.data, a.y.dtype, kc_cu_at(a.y, p), sqrtf(sum));
	}
}

template <int G>
static int norm_of(const struct kc_cu_pixels *a, cudaStream_t stream)
{
	KC_LAUNCH_BLOCK(channel_norm<G>, dim3(kc_cu_blocks(a->n * G)), dim3(KC_CU_THREADS), 0,
			stream, *a);
	return kc_cu_status();
}

extern "C" int kc_cu_channel_norm(const struct kc_cu_pixels *a, cudaStream_t stream)
{
	return a->channels <= 4 ? norm_of<1>(a, stream) :
	       a->channels <= 32 ? norm_of<8>(a, stream) : norm_of<32>(a, stream);
}
