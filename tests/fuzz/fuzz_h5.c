/*
 * libFuzzer target: any bytes as an HDF5 file of weights; what is accepted is read in full.
 *
 * The process that reads stays alive from input to input, as long as the library survives, and
 * hands over which code it ran.  Build it with a libhdf5 that is instrumented as well (docs/
 * fuzzing.md), else nothing leads into that library.  Only what leaves the reading process is a
 * finding; how often and of what that process died is printed at the end.
 */
#include "weights/h5_private.h"

#include <sanitizer/common_interface_defs.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	INPUTS_PER_READER = 2000,
	SANITIZER = 77,                 /* exit status after a report */
	SENT = 256 << 20,               /* bytes that a reader may send */
	ROOM = 1 << 30,                 /* bytes of memory that it may take */
	MICROSECONDS = 200000           /* of processor time per input */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__asan_default_options(void);

/* Bounds of the compiler's counters, a byte per branch, whose names it keeps to itself in C. */
extern uint8_t *counters[2];
__asm__(".pushsection .data.rel.ro,\"aw\"\n"
	"counters: .quad __start___sancov_cntrs, __stop___sancov_cntrs\n"
	".popsection\n");

static struct {
	pid_t pid;
	int ask, answer, sent;          /* pipes for sizes and for a byte; a file in memory */
	long inputs, all, died[64], by_sanitizer;
	uint8_t *ran;                   /* counters of the reader, shared */
	char path[64];
} s;

const char *__asan_default_options(void)
{
	return "allocator_may_return_null=1:quarantine_size_mb=1:malloc_context_size=3";
}

static size_t n_counters(void)
{
	return (size_t)(counters[1] - counters[0]);
}

/* ---- the reader ---- */

static void die(int signal_number)
{
	memcpy(s.ran, counters[0], n_counters());
	signal(signal_number, SIG_DFL);
	kill(getpid(), signal_number);
}

static void die_of_sanitizer(void)
{
	memcpy(s.ran, counters[0], n_counters());
	_exit(SANITIZER);
}

static void limit_memory(void)
{
	struct rlimit memory;
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (f && fscanf(f, "%lu", &pages) == 1) {
		memory.rlim_cur = memory.rlim_max = pages * 4096 + ROOM;
		setrlimit(RLIMIT_AS, &memory);
	}
	if (f)
		fclose(f);
}

static void prepare_reader(void)
{
	static const int deaths[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGPROF};
	const struct rlimit file = {SENT, SENT}, core = {0, 0};
	const struct sigaction act = {.sa_handler = die, .sa_flags = SA_NODEFER};

	for (size_t i = 0; i < KC_COUNT(deaths); i++)
		sigaction(deaths[i], &act, NULL);
	signal(SIGXFSZ, SIG_IGN);
	__sanitizer_set_death_callback(die_of_sanitizer);
	setrlimit(RLIMIT_FSIZE, &file);
	setrlimit(RLIMIT_CORE, &core);
	limit_memory();
}

static void read_inputs(int ask, int answer)
{
	const struct itimerval most = {.it_value = {0, MICROSECONDS}};
	size_t size;

	prepare_reader();
	while (read(ask, &size, sizeof size) == sizeof size) {
		setitimer(ITIMER_PROF, &most, NULL);
		H5open();
		memset(counters[0], 0, n_counters());
		kc_h5_send(s.path, size, s.sent);
		memcpy(s.ran, counters[0], n_counters());
		if (H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL) > 0)
			H5close();
		if (write(answer, "", 1) != 1)
			break;
	}
	_exit(0);
}

static void start(void)
{
	int to[2], from[2];

	if (pipe(to) || pipe(from))
		abort();
	s.pid = fork();
	if (s.pid < 0)
		abort();
	if (s.pid == 0) {
		close(to[1]);
		close(from[0]);
		read_inputs(to[0], from[1]);
	}
	close(to[0]);
	close(from[1]);
	s.ask = to[1];
	s.answer = from[0];
	s.inputs = 0;
}

static void stop(void)
{
	int status = 0;

	close(s.ask);
	close(s.answer);
	waitpid(s.pid, &status, 0);
	s.pid = 0;
	if (WIFSIGNALED(status))
		s.died[WTERMSIG(status) & 63]++;
	s.by_sanitizer += WIFEXITED(status) && WEXITSTATUS(status) == SANITIZER;
}

/* ---- the fuzzer ---- */

static void finish(void)
{
	remove(s.path);
	fprintf(stderr, "%ld inputs; the reader died %ld times of a sanitizer", s.all,
		s.by_sanitizer);
	for (int i = 0; i < 64; i++)
		if (s.died[i])
			fprintf(stderr, ", %ld times of %s", s.died[i], strsignal(i));
	fputc('\n', stderr);
}

static void begin(void)
{
	s.ran = mmap(NULL, n_counters(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	s.sent = memfd_create("sent", 0);
	if (s.ran == MAP_FAILED || s.sent < 0)
		abort();
	snprintf(s.path, sizeof s.path, "/dev/shm/fuzz_h5.%ld", (long)getpid());
	signal(SIGPIPE, SIG_IGN);
	atexit(finish);
}

/* The library opens files by name alone.  A new file each time: it may still hold the last one. */
static void write_input(const uint8_t *data, size_t size)
{
	FILE *f;

	remove(s.path);
	f = fopen(s.path, "wb");
	if (!f || fwrite(data, 1, size, f) != size || fclose(f))
		abort();
}

/* Without being counted itself. */
__attribute__((no_sanitize("coverage", "address", "undefined")))
static void add_counters(void)
{
	for (size_t i = 0, n = n_counters(); i < n; i++)
		counters[0][i] |= s.ran[i];
}

/* What the reader made of it lies in s.sent, the whole or the part before its death. */
static void ask(size_t size)
{
	char done;

	if (!s.pid)
		start();
	if (ftruncate(s.sent, 0) || lseek(s.sent, 0, SEEK_SET))
		abort();
	memset(s.ran, 0, n_counters());
	s.all++;
	if (write(s.ask, &size, sizeof size) != sizeof size || read(s.answer, &done, 1) != 1 ||
	    ++s.inputs == INPUTS_PER_READER)
		stop();
	add_counters();
}

static void receive(const uint8_t *data, size_t size)
{
	struct kc_h5 f = {.map = {.data = data, .size = size}};
	FILE *in;

	if (lseek(s.sent, 0, SEEK_SET) || !(in = fdopen(dup(s.sent), "rb")))
		abort();
	if (kc_h5_receive(in, &f) >= 0)
		for (size_t i = 0; i < f.n; i++) {
			double *x = kc_calloc(f.tensors[i].count, sizeof *x);

			if (x)
				KC_ASSERT(!kc_st_read_f64(&f.tensors[i], x, f.tensors[i].count));
			free(x);
		}
	fclose(in);
	f.map = (struct kc_map){0};
	kc_h5_close(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!s.ran)
		begin();
	if (!kc_h5_is(data, size))
		return 0;
	write_input(data, size);
	ask(size);
	receive(data, size);
	return 0;
}
