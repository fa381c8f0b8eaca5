/* What a run leaves: log lines, metrics that can be cut back, events, folders. */
#include "core/file.h"
#include "core/hash.h"
#include "core/json.h"
#include "tests/test.h"
#include "train/experiment.h"
#include "train/log.h"

#include <stdlib.h>
#include <string.h>

static const struct kc_metric losses[] = {{"l_pix", 0.0123}, {"warp_loss", 0.1}};

static struct kc_log_step step_at(int64_t iter)
{
	return (struct kc_log_step){.epoch = 12, .iter = iter, .niter = 334000, .lr = 5e-5,
		.time = 0.3, .data_time = 0.004, .frames_per_s = 155, .memory = 2.1e9, .peak = 0.41,
		.values = losses, .n = KC_COUNT(losses)};
}

/* The only file of the folder whose name starts so, whole. */
static char *read_only_file(const char *dir, const char *start, size_t *n)
{
	struct kc_names names;
	char *path = NULL, *data = NULL;

	KC_CHECK_OK(kc_dir_list(dir, NULL, KC_ORDER_BYTES, &names));
	for (size_t i = 0; i < names.n; i++)
		if (strncmp(names.v[i], start, strlen(start)) == 0 && !path)
			path = kc_format("%s/%s", dir, names.v[i]);
	kc_names_free(&names);
	KC_CHECK(path && kc_file_read(path, 1 << 20, &data, n) == 0);
	free(path);
	return data;
}

/* A log that writes its screen into memory. */
static bool open_log(struct kc_log *log, FILE *screen, const char *tb, int64_t start)
{
	bool good = KC_CHECK_OK(kc_log_open(log, kc_test_dir(), "x", tb, start));

	log->screen = screen;
	log->terminal = false;
	return good;
}

static void test_lines(void)
{
	static const char line[] =
		"[epoch: 12, iter:  34,000, lr:(5.000e-05,)] [eta: 1 day, 1:00:00, time (data): "
		"0.300 (0.004)] l_pix: 1.2300e-02 warp_loss: 1.0000e-01 frames/s: 155 mem: 2.1 GB "
		"peak: 41 %\n[iter:  34,000] l_pix: 1.2300e-02 warp_loss: 1.0000e-01\nhello 7\n";
	struct kc_log_step s = step_at(34000);
	char *shown = NULL, *kept;
	size_t n, kept_n = 0;
	FILE *screen = open_memstream(&shown, &n);
	struct kc_log log;

	KC_ASSERT(screen);
	if (!open_log(&log, screen, NULL, 0))
		return;
	kc_log_progress(&log, &s);
	KC_CHECK_OK(kc_log_step(&log, &s));
	KC_CHECK_OK(kc_log_values(&log, 34000, losses, 2));
	kc_log_say(&log, "hello %d", 7);
	KC_CHECK_OK(kc_log_close(&log));
	fclose(screen);
	KC_CHECK(strcmp(shown, line) == 0);
	kept = read_only_file(kc_test_dir(), "train_x_", &kept_n);
	KC_CHECK(kept && strstr(kept, " [epoch: 12, iter:  34,000") && strstr(kept, " hello 7\n"));
	free(kept);
	free(shown);
}

static void test_progress(void)
{
	struct kc_log_step s = step_at(1);
	char *shown = NULL;
	size_t n;
	FILE *screen = open_memstream(&shown, &n);
	struct kc_log log = {.screen = screen, .terminal = true};

	KC_ASSERT(screen);
	for (int i = 0; i < 1000; i++)
		kc_log_progress(&log, &s);
	fflush(screen);
	KC_CHECK(n > 10 && n <= 79 + 4 && strncmp(shown, "\r\033[K1/334000  eta ", 18) == 0);
	kc_log_say(&log, "done");
	fflush(screen);
	KC_CHECK(n > 9 && strcmp(shown + n - 9, "\r\033[Kdone\n") == 0);
	KC_CHECK_OK(kc_log_close(&log));
	fclose(screen);
	free(shown);
	KC_CHECK_OK(kc_log_step(&log, &s));
	KC_CHECK_OK(kc_log_values(&log, 1, losses, 2));
	KC_CHECK_OK(kc_log_sync(&log));
	kc_log_say(&log, "a silent log says nothing");
}

static void test_metrics(void)
{
	char *shown = NULL, *text;
	const char *path = kc_test_path("metrics.jsonl"), *p;
	size_t n;
	FILE *screen = open_memstream(&shown, &n);
	struct kc_json *root;
	struct kc_log log;

	KC_ASSERT(screen);
	if (!open_log(&log, screen, NULL, 0))
		return;
	for (int64_t iter = 100; iter <= 500; iter += 100) {
		struct kc_log_step s = step_at(iter);

		KC_CHECK_OK(kc_log_step(&log, &s));
	}
	KC_CHECK_OK(kc_log_values(&log, 500, losses, 1));
	KC_CHECK_OK(kc_log_sync(&log));
	KC_CHECK_OK(kc_log_close(&log));
	fclose(screen);
	free(shown);
	KC_CHECK_OK(kc_file_read(path, 1 << 20, &text, &n));
	p = text;
	for (int lines = 0; lines < 6; lines++, p = strchr(p, '\n') + 1) {
		size_t length = (size_t)(strchr(p, '\n') - p);

		if (!KC_CHECK_OK(kc_json_parse(p, length, &root)))
			break;
		KC_CHECK(kc_json_get(root, "iter")->integer == KC_MIN(100 * (lines + 1), 500));
		KC_CHECK(kc_json_get(root, "l_pix")->number == 0.0123);
		KC_CHECK(lines == 5 || kc_json_get(root, "lr")->number == 5e-5);
		kc_json_free(root);
	}
	KC_CHECK(!*p);
	free(text);
}

static void test_cut(void)
{
	static const char whole[] = "{\"iter\": 1, \"a\": 1}\n{\"iter\": 2}\n{\"iter\": 3}\n";
	static const char torn[] = "{\"iter\": 1}\nrubbish\n{\"iter\": 2}\n{\"iter\": 3}\n{\"it";
	const char *path = kc_test_path("m.jsonl");
	char *text;
	size_t n;

	KC_CHECK(kc_log_cut(path, 5) == 0 && !kc_file_exists(path));
	KC_CHECK_OK(kc_file_write(path, whole, sizeof whole - 1));
	KC_CHECK(kc_log_cut(path, 3) == 0);
	KC_CHECK(kc_log_cut(path, 2) == 1);
	KC_CHECK_OK(kc_file_read(path, 1000, &text, &n));
	KC_CHECK(strcmp(text, "{\"iter\": 1, \"a\": 1}\n{\"iter\": 2}\n") == 0);
	free(text);
	KC_CHECK_OK(kc_file_write(path, torn, sizeof torn - 1));
	KC_CHECK(kc_log_cut(path, 2) == 3);
	KC_CHECK_OK(kc_file_read(path, 1000, &text, &n));
	KC_CHECK(strcmp(text, "{\"iter\": 1}\n{\"iter\": 2}\n") == 0);
	free(text);
	KC_CHECK(kc_log_cut(path, -1) == 2 && kc_log_cut(path, -1) == 0);
}

/* --- events, parsed back ---------------------------------------------------------- */

static uint64_t little(const unsigned char *p, int n)
{
	uint64_t x = 0;

	for (int i = n; i-- > 0; )
		x = x << 8 | p[i];
	return x;
}

static bool crc_fits(const unsigned char *data, size_t n, const unsigned char *stored)
{
	uint32_t crc = kc_crc32c(0, data, n);

	return (uint32_t)little(stored, 4) == (crc >> 15 | crc << 17) + 0xA282EAD8u;
}

/* The next record's bytes, or NULL at the end; checks the frame. */
static const unsigned char *next_record(const unsigned char **p, const unsigned char *end,
					size_t *n)
{
	const unsigned char *data = *p + 12;

	if (end - *p < 16)
		return NULL;
	*n = little(*p, 8);
	KC_CHECK(crc_fits(*p, 8, *p + 8));
	if (*n > (size_t)(end - data) - 4) {
		kc_test_fail(__FILE__, __LINE__, "record of %zu bytes", *n);
		return NULL;
	}
	KC_CHECK(crc_fits(data, *n, data + *n));
	*p = data + *n + 4;
	return data;
}

/* An event starts with the time (field 1) and the step (field 2, one byte here). */
static void check_event(const unsigned char *event, int64_t step)
{
	double seconds;

	memcpy(&seconds, event + 1, 8);
	KC_CHECK(event[0] == 0x09 && seconds > 1.6e9 && event[9] == 0x10 && event[10] == step);
}

static void test_tensorboard(void)
{
	/* two values of 12 and 16 bytes, of which the last four are the number */
	static const unsigned char start[] = {0x2A, 32, 0x0A, 12, 0x0A, 5, 'l', '_', 'p', 'i', 'x',
					      0x15};
	static const unsigned char second[] = {0x0A, 16, 0x0A, 9, 'w', 'a', 'r', 'p', '_', 'l', 'o',
					       's', 's', 0x15};
	struct kc_tensorboard tb;
	const char *dir = kc_test_path("tb/run");
	const unsigned char *p, *end, *event;
	float value;
	char *data;
	size_t n;

	KC_CHECK_OK(kc_tensorboard_open(&tb, dir, 101));
	KC_CHECK_OK(kc_tensorboard_write(&tb, 102, losses, 2));
	KC_CHECK_OK(kc_tensorboard_close(&tb));
	data = read_only_file(dir, "events.out.tfevents.", &n);
	if (!data)
		return;
	p = (const unsigned char *)data;
	end = p + n;
	event = next_record(&p, end, &n);
	check_event(event, 0);
	KC_CHECK(event[11] == 0x1A && n == 26 && memcmp(event + 13, "brain.Event:2", 13) == 0);
	event = next_record(&p, end, &n);
	check_event(event, 101);
	KC_CHECK(n == 15 && memcmp(event + 11, "\x3A\x02\x08\x01", 4) == 0);
	event = next_record(&p, end, &n);
	check_event(event, 102);
	KC_CHECK(n == 11 + 34 && memcmp(event + 11, start, sizeof start) == 0);
	KC_CHECK(memcmp(event + 27, second, sizeof second) == 0);
	memcpy(&value, event + 23, 4);
	KC_CHECK(value == 0.0123f);
	memcpy(&value, event + 41, 4);
	KC_CHECK(value == 0.1f);
	KC_CHECK(!next_record(&p, end, &n) && p == end);
	free(data);
}

/* --- folders ------------------------------------------------------------------------ */

static size_t count_entries(const char *dir)
{
	struct kc_names names;
	size_t n;

	KC_CHECK_OK(kc_dir_list(dir, NULL, KC_ORDER_BYTES, &names));
	n = names.n;
	kc_names_free(&names);
	return n;
}

static void configure(struct kc_config *c)
{
	char *root = kc_format("path.root=%s", kc_test_dir());

	KC_CHECK_OK(kc_config_init(c));
	KC_CHECK_OK(kc_config_set(c, "name=run"));
	KC_CHECK_OK(kc_config_set(c, root));
	KC_CHECK_OK(kc_config_resolve(c));
	free(root);
}

static void test_experiment(void)
{
	struct kc_experiment e;
	struct kc_config c, again;
	char *archived;

	configure(&c);
	KC_CHECK_OK(kc_experiment_init(&e, &c));
	KC_CHECK_OK(kc_experiment_make(&e, &c, false, &archived));
	KC_CHECK(!archived && kc_dir_exists(e.models) && kc_dir_exists(e.states));
	KC_CHECK(strcmp(e.dir, kc_test_path("experiments/run")) == 0 && count_entries(e.dir) == 4);
	KC_CHECK_OK(kc_config_init(&again));
	KC_CHECK_OK(kc_config_load(&again, kc_test_path("experiments/run/config.yml")));
	KC_CHECK(kc_config_hash(&again) == kc_config_hash(&c));
	kc_config_release(&again);

	KC_CHECK_OK(kc_dir_make(e.tensorboard));
	KC_CHECK_OK(kc_file_write(kc_test_path("experiments/run/models/1_G"), "x", 1));
	for (int i = 0; i < 2; i++) {
		KC_CHECK_OK(kc_experiment_make(&e, &c, false, &archived));
		KC_CHECK(archived && strstr(archived, "experiments/run_archived_"));
		free(archived);
	}
	KC_CHECK(count_entries(e.models) == 0 && count_entries(kc_test_path("experiments")) == 3);
	KC_CHECK(count_entries(kc_test_path("tb_logger")) == 1 && !kc_dir_exists(e.tensorboard));

	KC_CHECK_OK(kc_experiment_make(&e, &c, true, &archived));
	KC_CHECK(!archived && count_entries(e.dir) == 4);
	KC_CHECK_OK(kc_config_set(&c, "train.niter=5"));
	KC_CHECK_OK(kc_experiment_make(&e, &c, true, &archived));
	KC_CHECK(count_entries(e.dir) == 5);
	kc_experiment_release(&e);
	KC_CHECK_OK(kc_config_set(&c, "path.experiments_root=a/b//"));
	KC_CHECK_OK(kc_experiment_init(&e, &c));
	KC_CHECK(strcmp(e.dir, "a/b") == 0 && strcmp(e.models, "a/b/models") == 0);
	kc_experiment_release(&e);
	kc_config_release(&c);
}

static void test_resumed_log(void)
{
	char *shown = NULL, *text;
	size_t n;
	FILE *screen = open_memstream(&shown, &n);
	struct kc_log log;

	KC_ASSERT(screen);
	KC_CHECK_OK(kc_file_write(kc_test_path("metrics.jsonl"),
				  "{\"iter\": 5}\n{\"iter\": 10}\n{\"it", 29));
	if (!open_log(&log, screen, kc_test_path("tb"), 5))
		return;
	KC_CHECK_OK(kc_log_values(&log, 6, losses, 1));
	KC_CHECK_OK(kc_log_close(&log));
	fclose(screen);
	free(shown);
	KC_CHECK_OK(kc_file_read(kc_test_path("metrics.jsonl"), 1000, &text, &n));
	KC_CHECK(strcmp(text, "{\"iter\": 5}\n{\"iter\": 6, \"l_pix\": 0.0123}\n") == 0);
	free(text);
	KC_CHECK_ERR(kc_log_open(&log, kc_test_path("none"), "x", NULL, 0), KC_EIO, "none");
}

const struct kc_test kc_tests_log[] = {
	{"the line trainers know, on the screen and in the file", test_lines},
	{"progress is drawn at most six times a second", test_progress},
	{"metrics are one object per line", test_metrics},
	{"metrics are cut back to a checkpoint", test_cut},
	{"a resumed log goes on where the checkpoint was", test_resumed_log},
	{"events parse back", test_tensorboard},
	{"a taken name is archived, never overwritten", test_experiment},
	{0}
};
