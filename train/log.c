#include "train/log.h"

#include "core/file.h"
#include "core/json.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static const double PROGRESS_PERIOD = 1.0 / 6;

static void print_time(char *out, size_t size, const char *format)
{
	time_t now = time(NULL);
	struct tm local;

	localtime_r(&now, &local);
	strftime(out, size, format, &local);
}

void kc_time_stamp(char out[16])
{
	print_time(out, 16, "%y%m%d-%H%M%S");
}

/* --- opening and closing ---------------------------------------------------------- */

static int open_append(FILE **file, char *path)
{
	if (!path)
		return KC_ENOMEM;
	*file = fopen(path, "ae");
	if (!*file)
		KC_FAIL(KC_EIO, "%s: cannot open for writing", path);
	free(path);
	return *file ? 0 : KC_EIO;
}

static int cut_metrics(const char *dir, int64_t iter)
{
	char *path = kc_format("%s/metrics.jsonl", dir);
	int rc = path ? kc_log_cut(path, iter) : KC_ENOMEM;

	free(path);
	return rc;
}

int kc_log_open(struct kc_log *log, const char *dir, const char *name, const char *tb_dir,
		int64_t start_iter)
{
	char stamp[16];
	int rc;

	kc_time_stamp(stamp);
	*log = (struct kc_log){.screen = stderr, .terminal = isatty(fileno(stderr))};
	rc = cut_metrics(dir, start_iter);
	if (rc >= 0)
		rc = open_append(&log->file, kc_format("%s/train_%s_%s.log", dir, name, stamp));
	if (rc >= 0)
		rc = open_append(&log->metrics, kc_format("%s/metrics.jsonl", dir));
	if (rc >= 0 && tb_dir)
		rc = kc_tensorboard_open(&log->tensorboard, tb_dir,
					 start_iter ? start_iter + 1 : 0);
	if (rc < 0)
		kc_log_close(log);
	return KC_MIN(rc, 0);
}

static int close_file(FILE *file)
{
	return file && fclose(file) != 0 ? KC_FAIL(KC_EIO, "cannot write the log") : 0;
}

static void clear_progress(struct kc_log *log)
{
	if (log->drawn)
		fputs("\r\033[K", log->screen);
	log->drawn = false;
}

int kc_log_close(struct kc_log *log)
{
	int file, metrics, tensorboard;

	clear_progress(log);
	file = close_file(log->file);
	metrics = close_file(log->metrics);
	tensorboard = kc_tensorboard_close(&log->tensorboard);
	*log = (struct kc_log){0};
	return KC_MIN(file, KC_MIN(metrics, tensorboard));
}

/* --- lines for people --------------------------------------------------------------- */

/* 34000 as "34,000". */
static void group_digits(int64_t n, char out[32])
{
	char digits[24];
	int length = snprintf(digits, sizeof digits, "%lld", (long long)n), k = 0;

	for (int i = 0; i < length; i++) {
		out[k++] = digits[i];
		if ((length - 1 - i) % 3 == 0 && i < length - 1 && digits[i] != '-')
			out[k++] = ',';
	}
	out[k] = '\0';
}

static double eta_seconds(const struct kc_log_step *s)
{
	return (double)KC_MAX(s->niter - s->iter, 0) * s->time;
}

static void put_duration(double seconds, FILE *out)
{
	long long t = seconds >= 0 && seconds < 1e12 ? (long long)(seconds + 0.5) : 0;

	if (t >= 86400)
		fprintf(out, "%lld day%s, ", t / 86400, t >= 2 * 86400 ? "s" : "");
	fprintf(out, "%lld:%02lld:%02lld", t / 3600 % 24, t / 60 % 60, t % 60);
}

static void put_values(const struct kc_metric *values, size_t n, FILE *out)
{
	for (size_t i = 0; i < n; i++)
		fprintf(out, " %s: %.4e", values[i].name, values[i].value);
}

static void put_machine(const struct kc_log_step *s, FILE *out)
{
	fprintf(out, " frames/s: %.3g", s->frames_per_s);
	if (s->memory > 0)
		fprintf(out, " mem: %.1f GB", s->memory / 1e9);
	if (s->peak > 0)
		fprintf(out, " peak: %.0f %%", 100 * s->peak);
}

static void put_step(const struct kc_log_step *s, FILE *out)
{
	char iter[32];

	group_digits(s->iter, iter);
	fprintf(out, "[epoch:%3lld, iter:%8s, lr:(%.3e,)] [eta: ", (long long)s->epoch, iter,
		s->lr);
	put_duration(eta_seconds(s), out);
	fprintf(out, ", time (data): %.3f (%.3f)]", s->time, s->data_time);
	put_values(s->values, s->n, out);
	put_machine(s, out);
}

/* One line on the screen and in the file. */
static void say_line(struct kc_log *log, const char *line)
{
	char stamp[32];

	if (log->screen) {
		clear_progress(log);
		fprintf(log->screen, "%s\n", line);
		fflush(log->screen);
	}
	if (log->file) {
		print_time(stamp, sizeof stamp, "%Y-%m-%d %H:%M:%S");
		fprintf(log->file, "%s %s\n", stamp, line);
		fflush(log->file);
	}
}

void kc_log_say(struct kc_log *log, const char *fmt, ...)
{
	char *line = NULL;
	va_list args;
	int n;

	va_start(args, fmt);
	n = vasprintf(&line, fmt, args);
	va_end(args);
	if (n < 0)
		return;
	say_line(log, line);
	free(line);
}

/* A text stream into memory; NULL with a message. */
static FILE *open_line(char **line, size_t *n)
{
	FILE *out = open_memstream(line, n);

	if (!out)
		KC_FAIL(KC_ENOMEM, "out of memory");
	return out;
}

static int terminal_width(const struct kc_log *log)
{
	struct winsize w;

	if (ioctl(fileno(log->screen), TIOCGWINSZ, &w) < 0 || w.ws_col < 20)
		return 79;
	return w.ws_col - 1;
}

void kc_log_progress(struct kc_log *log, const struct kc_log_step *s)
{
	double now = kc_now();
	char *line = NULL;
	size_t n;
	FILE *out;

	if (!log->screen || !log->terminal || now - log->last_progress < PROGRESS_PERIOD)
		return;
	log->last_progress = now;
	out = open_line(&line, &n);
	if (!out)
		return;
	fprintf(out, "%lld/%lld  eta ", (long long)s->iter, (long long)s->niter);
	put_duration(eta_seconds(s), out);
	fprintf(out, "  data %.0f %%", s->time > 0 ? 100 * s->data_time / s->time : 0);
	put_machine(s, out);
	put_values(s->values, s->n, out);
	fclose(out);
	if (line) {
		fprintf(log->screen, "\r\033[K%.*s", terminal_width(log), line);
		fflush(log->screen);
		log->drawn = true;
	}
	free(line);
}

/* --- lines for machines ------------------------------------------------------------ */

static void put_member(const char *name, double value, FILE *out)
{
	fputs(", ", out);
	kc_json_put_text(out, name);
	fputs(": ", out);
	kc_json_put_number(out, value);
}

static void put_members(const struct kc_metric *values, size_t n, FILE *out)
{
	for (size_t i = 0; i < n; i++)
		put_member(values[i].name, values[i].value, out);
}

static int end_metrics(struct kc_log *log)
{
	fputs("}\n", log->metrics);
	if (fflush(log->metrics) != 0 || ferror(log->metrics))
		return KC_FAIL(KC_EIO, "metrics.jsonl: cannot write");
	return 0;
}

static int write_metrics(struct kc_log *log, const struct kc_log_step *s)
{
	FILE *out = log->metrics;

	if (!out)
		return 0;
	fprintf(out, "{\"iter\": %lld, \"epoch\": %lld", (long long)s->iter, (long long)s->epoch);
	put_member("lr", s->lr, out);
	put_members(s->values, s->n, out);
	put_member("time", s->time, out);
	put_member("data_time", s->data_time, out);
	put_member("eta", eta_seconds(s), out);
	put_member("frames_per_s", s->frames_per_s, out);
	put_member("memory", s->memory, out);
	put_member("peak", s->peak, out);
	return end_metrics(log);
}

static int write_tensorboard(struct kc_log *log, int64_t iter, const struct kc_metric *v, size_t n)
{
	return log->tensorboard.file ? kc_tensorboard_write(&log->tensorboard, iter, v, n) : 0;
}

int kc_log_step(struct kc_log *log, const struct kc_log_step *s)
{
	const struct kc_metric lr = {"lr", s->lr};
	char *line = NULL;
	size_t n;
	FILE *out;

	if (!log->screen)
		return 0;
	out = open_line(&line, &n);
	if (!out)
		return KC_ENOMEM;
	put_step(s, out);
	fclose(out);
	if (line)
		say_line(log, line);
	free(line);
	KC_TRY(write_metrics(log, s));
	KC_TRY(write_tensorboard(log, s->iter, &lr, 1));
	return write_tensorboard(log, s->iter, s->values, s->n);
}

int kc_log_values(struct kc_log *log, int64_t iter, const struct kc_metric *values, size_t n)
{
	char *line = NULL, digits[32];
	size_t length;
	FILE *out;

	if (!log->screen)
		return 0;
	out = open_line(&line, &length);
	if (!out)
		return KC_ENOMEM;
	group_digits(iter, digits);
	fprintf(out, "[iter:%8s]", digits);
	put_values(values, n, out);
	fclose(out);
	if (line)
		say_line(log, line);
	free(line);
	if (log->metrics) {
		fprintf(log->metrics, "{\"iter\": %lld", (long long)iter);
		put_members(values, n, log->metrics);
		KC_TRY(end_metrics(log));
	}
	return write_tensorboard(log, iter, values, n);
}

int kc_log_sync(struct kc_log *log)
{
	if (log->metrics && fsync(fileno(log->metrics)) < 0)
		return KC_FAIL(KC_EIO, "metrics.jsonl: cannot flush to the disk");
	return 0;
}

/* --- cutting back ------------------------------------------------------------------ */

static bool is_kept(const char *line, size_t n, int64_t iter)
{
	const struct kc_json *v;
	struct kc_json *root;
	bool kept;

	if (n == 0 || line[n - 1] != '\n' || kc_json_parse(line, n, &root) < 0)
		return false;
	v = kc_json_get(root, "iter");
	kept = v && v->kind == KC_JSON_NUMBER && v->is_int && v->integer <= iter;
	kc_json_free(root);
	return kept;
}

/* Calls for each line; with a writer, kept lines are written.  Returns the lines dropped. */
static int pass_lines(const struct kc_map *map, int64_t iter, struct kc_writer *out)
{
	const char *p = (const char *)map->data, *end = p + map->size;
	int dropped = 0;

	while (p < end) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));
		size_t n = newline ? (size_t)(newline - p) + 1 : (size_t)(end - p);
		bool kept = is_kept(p, n, iter);

		dropped += !kept;
		if (kept && out)
			KC_TRY(kc_writer_write(out, p, n));
		p += n;
	}
	return dropped;
}

static int rewrite_lines(const char *path, const struct kc_map *map, int64_t iter)
{
	struct kc_writer out;
	int rc;

	KC_TRY(kc_writer_begin(&out, path, map->size));
	rc = pass_lines(map, iter, &out);
	if (rc < 0) {
		kc_writer_abort(&out);
		return rc;
	}
	KC_TRY(kc_writer_commit(&out));
	return rc;
}

int kc_log_cut(const char *path, int64_t iter)
{
	struct kc_map map;
	int dropped;

	if (!kc_file_exists(path))
		return 0;
	KC_TRY(kc_map_open(path, &map));
	dropped = map.size ? pass_lines(&map, iter, NULL) : 0;
	if (dropped > 0)
		dropped = rewrite_lines(path, &map, iter);
	kc_map_close(&map);
	return dropped;
}

static bool line_has(const char *line, size_t n, int64_t iter, const char *name)
{
	const struct kc_json *v;
	struct kc_json *root;
	bool has;

	if (kc_json_parse(line, n, &root) < 0)
		return false;
	v = kc_json_get(root, "iter");
	has = v && v->kind == KC_JSON_NUMBER && v->is_int && v->integer == iter &&
	      kc_json_get(root, name);
	kc_json_free(root);
	return has;
}

bool kc_log_has(const char *path, int64_t iter, const char *name)
{
	const char *p, *end;
	struct kc_map map;
	bool has = false;

	if (!kc_file_exists(path) || kc_map_open(path, &map) < 0)
		return false;
	p = (const char *)map.data;
	end = p + map.size;
	while (p < end && !has) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));
		size_t n = newline ? (size_t)(newline - p) + 1 : (size_t)(end - p);

		has = line_has(p, n, iter, name);
		p += n;
	}
	kc_map_close(&map);
	return has;
}
