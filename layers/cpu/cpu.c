#include "layers/cpu/cpu.h"

#include "layers/cpu/dnnl.h"
#include "layers/cpu/rows.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
#ifdef __x86_64__
#include <cpuid.h>
#endif

enum { MAX_ROWS = 128 };

static const struct kc_kernel *rows[MAX_ROWS];
static int level;

#ifdef __x86_64__

static unsigned leaf7(unsigned sub, int reg)
{
	unsigned r[4] = {0};

	__get_cpuid_count(7, sub, &r[0], &r[1], &r[2], &r[3]);
	return r[reg];
}

/* Linux hands out the tile registers on request only. */
static bool has_amx(void)
{
	enum {
		ARCH_REQ_XCOMP_PERM = 0x1023,
		TILE_DATA = 18,
		AMX_BF16 = 1 << 22,
		AMX_TILE = 1 << 24
	};
	unsigned edx = leaf7(0, 3);

	return (edx & AMX_BF16) && (edx & AMX_TILE) &&
	       syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0;
}

static bool has_avx512_bf16(void)
{
	enum { AVX512_BF16 = 1 << 5 };

	return kc_cpu_isa_best() == KC_ISA_V4 && (leaf7(1, 0) & AVX512_BF16);
}

int kc_cpu_isa_best(void)
{
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	    __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
	    __builtin_cpu_supports("avx512vl"))
		return KC_ISA_V4;
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
	    __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2"))
		return KC_ISA_V3;
	return KC_ISA_V2;
}

#else

static bool has_amx(void)
{
	return false;
}

static bool has_avx512_bf16(void)
{
	return false;
}

int kc_cpu_isa_best(void)
{
	return KC_ISA_V2;
}

#endif

static bool has_fast_bf16(void)
{
	return has_avx512_bf16() || has_amx();
}

bool kc_cpu_has_dot_bf16(void)
{
	return kc_cpu_isa() == KC_ISA_V4 && has_avx512_bf16() && !has_amx();
}

void kc_cpu_isa_set(int l)
{
	level = l;
}

int kc_cpu_isa(void)
{
	if (!level)
		level = kc_cpu_isa_best();
	return level;
}

static void add_rows(const struct kc_kernel *const *more)
{
	int n = 0;

	while (rows[n])
		n++;
	for (; *more; more++) {
		KC_ASSERT(n + 1 < MAX_ROWS);
		rows[n++] = *more;
	}
}

int kc_device_cpu(struct kc_device *d, int threads)
{
	if (!threads)
		threads = omp_get_num_procs();
	if (threads < 1 || threads > 4096)
		return KC_FAIL(KC_EINVAL, "%d threads: expected 1 to 4096, or 0 for all", threads);
	omp_set_num_threads(threads);
	omp_set_dynamic(0);
	if (!rows[0]) {
		add_rows(kc_cpu_deconv_rows);
		add_rows(kc_cpu_wgrad_rows);
		add_rows(kc_cpu_conv_rows);
		add_rows(kc_cpu_matmul_rows);
		add_rows(kc_cpu_pointwise_rows);
		add_rows(kc_cpu_shape_rows);
		add_rows(kc_cpu_reduce_rows);
		add_rows(kc_cpu_sample_rows);
		add_rows(kc_cpu_image_rows);
	}
	*d = (struct kc_device){.name = "cpu", .kernels = rows, .fast_bf16 = has_fast_bf16(),
				.threads = threads};
	return 0;
}

void kc_cpu_share_cores(char **argv)
{
	if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY"))
		return;
	/* About 20 us, what waking a thread takes.  Where this fails, the program just goes on. */
	if (setenv("GOMP_SPINCOUNT", "20000", 1) == 0)
		execv("/proc/self/exe", argv);
}

const char *kc_cpu_describe(void)
{
	static char text[96];

	snprintf(text, sizeof text, "%s, x86-64-v%d%s, %d threads", kc_dnn_version(), kc_cpu_isa(),
		 has_fast_bf16() ? ", bf16" : "", omp_get_max_threads());
	return text;
}
