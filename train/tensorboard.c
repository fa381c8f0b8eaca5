#include "train/tensorboard.h"

#include "core/file.h"
#include "core/hash.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Numbers of the fields in event.proto and summary.proto. */
enum {
	EVENT_TIME = 1, EVENT_STEP = 2, EVENT_VERSION = 3, EVENT_SUMMARY = 5, EVENT_SESSION = 7,
	SUMMARY_VALUE = 1, VALUE_TAG = 1, VALUE_SIMPLE = 2,
	SESSION_STATUS = 1, SESSION_START = 1
};

enum wire { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

/* A message that grows; a failed allocation sticks. */
struct message {
	unsigned char *v;
	size_t n, room;
	bool failed;
};

static void put_bytes(struct message *m, const void *data, size_t n)
{
	if (m->failed || n == 0)
		return;
	if (m->room - m->n < n) {
		size_t room = 2 * m->room + n;
		unsigned char *more = kc_realloc(m->v, room, 1);

		if (!more) {
			m->failed = true;
			return;
		}
		m->v = more;
		m->room = room;
	}
	memcpy(m->v + m->n, data, n);
	m->n += n;
}

static void put_varint(struct message *m, uint64_t x)
{
	unsigned char byte;

	do {
		byte = (unsigned char)((x & 0x7F) | (x > 0x7F ? 0x80 : 0));
		put_bytes(m, &byte, 1);
		x >>= 7;
	} while (x);
}

static void put_field(struct message *m, unsigned field, enum wire wire)
{
	put_varint(m, field << 3 | wire);
}

/* Little-endian, whatever the machine is. */
static void put_fixed(struct message *m, uint64_t bits, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char byte = (unsigned char)(bits >> (8 * i));

		put_bytes(m, &byte, 1);
	}
}

static void put_text(struct message *m, unsigned field, const void *data, size_t n)
{
	put_field(m, field, WIRE_BYTES);
	put_varint(m, n);
	put_bytes(m, data, n);
}

/* A message inside a message; frees it. */
static void put_message(struct message *m, unsigned field, struct message *inner)
{
	put_text(m, field, inner->v, inner->n);
	m->failed |= inner->failed;
	free(inner->v);
}

static void begin_event(struct message *m, int64_t step)
{
	struct timespec now;
	double seconds;
	uint64_t bits;

	clock_gettime(CLOCK_REALTIME, &now);
	seconds = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
	memcpy(&bits, &seconds, sizeof bits);
	put_field(m, EVENT_TIME, WIRE_FIXED64);
	put_fixed(m, bits, 8);
	put_field(m, EVENT_STEP, WIRE_VARINT);
	put_varint(m, (uint64_t)step);
}

static uint32_t masked_crc(const void *data, size_t n)
{
	uint32_t crc = kc_crc32c(0, data, n);

	return (crc >> 15 | crc << 17) + 0xA282EAD8u;
}

/* One record, flushed so that a reader never waits for it; frees the event. */
static int write_event(struct kc_tensorboard *tb, struct message *event)
{
	struct message record = {0};
	bool written;

	put_fixed(&record, event->n, 8);
	put_fixed(&record, record.failed ? 0 : masked_crc(record.v, 8), 4);
	put_bytes(&record, event->v, event->n);
	put_fixed(&record, event->n ? masked_crc(event->v, event->n) : 0, 4);
	record.failed |= event->failed;
	written = !record.failed && fwrite(record.v, 1, record.n, tb->file) == record.n
		  && fflush(tb->file) == 0;
	free(event->v);
	free(record.v);
	if (record.failed)
		return KC_ENOMEM;
	return written ? 0 : KC_FAIL(KC_EIO, "cannot write TensorBoard events");
}

static int write_header(struct kc_tensorboard *tb, int64_t start_step)
{
	static const char version[] = "brain.Event:2";
	struct message first = {0}, start = {0}, session = {0};

	begin_event(&first, 0);
	put_text(&first, EVENT_VERSION, version, sizeof version - 1);
	KC_TRY(write_event(tb, &first));
	if (start_step <= 0)
		return 0;
	put_field(&session, SESSION_STATUS, WIRE_VARINT);
	put_varint(&session, SESSION_START);
	begin_event(&start, start_step);
	put_message(&start, EVENT_SESSION, &session);
	return write_event(tb, &start);
}

int kc_tensorboard_open(struct kc_tensorboard *tb, const char *dir, int64_t start_step)
{
	char host[64] = "host";
	char *path;
	int rc;

	tb->file = NULL;
	KC_TRY(kc_dir_make(dir));
	gethostname(host, sizeof host - 1);
	path = kc_format("%s/events.out.tfevents.%010lld.%s.%d", dir, (long long)time(NULL), host,
			 (int)getpid());
	if (!path)
		return KC_ENOMEM;
	tb->file = fopen(path, "abe");
	rc = tb->file ? write_header(tb, start_step) : KC_FAIL(KC_EIO, "%s: cannot create", path);
	free(path);
	if (rc < 0)
		kc_tensorboard_close(tb);
	return rc;
}

int kc_tensorboard_write(struct kc_tensorboard *tb, int64_t step, const struct kc_metric *metrics,
			 size_t n)
{
	struct message event = {0}, summary = {0};

	for (size_t i = 0; i < n; i++) {
		struct message value = {0};
		float x = (float)metrics[i].value;
		uint32_t bits;

		memcpy(&bits, &x, sizeof bits);
		put_text(&value, VALUE_TAG, metrics[i].name, strlen(metrics[i].name));
		put_field(&value, VALUE_SIMPLE, WIRE_FIXED32);
		put_fixed(&value, bits, 4);
		put_message(&summary, SUMMARY_VALUE, &value);
	}
	begin_event(&event, step);
	put_message(&event, EVENT_SUMMARY, &summary);
	return write_event(tb, &event);
}

int kc_tensorboard_close(struct kc_tensorboard *tb)
{
	FILE *file = tb->file;

	tb->file = NULL;
	return file && fclose(file) != 0 ? KC_FAIL(KC_EIO, "cannot write TensorBoard events") : 0;
}
