#include "core/proto.h"

#include <stdlib.h>
#include <string.h>

enum { WIRE_VARINT = 0, WIRE_LENGTH = 2, WIRE_32 = 5 };

void kc_proto_release(struct kc_proto *p)
{
	free(p->data);
	*p = (struct kc_proto){0};
}

static void put(struct kc_proto *p, const void *bytes, size_t n)
{
	size_t room = p->room ? p->room : 256;
	unsigned char *grown;

	if (p->err || !n)
		return;
	while (room - p->size < n && room <= SIZE_MAX / 2)
		room *= 2;
	if (room != p->room) {
		grown = room - p->size < n ? NULL : kc_realloc(p->data, room, 1);
		if (!grown) {
			p->err = KC_ENOMEM;
			return;
		}
		p->data = grown;
		p->room = room;
	}
	memcpy(p->data + p->size, bytes, n);
	p->size += n;
}

/* Seven bits a byte, the lowest first; the top bit says that more follow. */
static void put_varint(struct kc_proto *p, uint64_t v)
{
	unsigned char bytes[10];
	size_t n = 0;

	do {
		bytes[n] = (unsigned char)(v & 0x7f);
		v >>= 7;
		if (v)
			bytes[n] |= 0x80;
		n++;
	} while (v);
	put(p, bytes, n);
}

static void put_tag(struct kc_proto *p, int field, int wire)
{
	put_varint(p, (uint64_t)field << 3 | (uint64_t)wire);
}

void kc_proto_int(struct kc_proto *p, int field, int64_t value)
{
	put_tag(p, field, WIRE_VARINT);
	put_varint(p, (uint64_t)value);
}

void kc_proto_float(struct kc_proto *p, int field, float value)
{
	unsigned char bytes[4];
	uint32_t u;

	memcpy(&u, &value, sizeof u);
	for (int i = 0; i < 4; i++)
		bytes[i] = (unsigned char)(u >> 8 * i);
	put_tag(p, field, WIRE_32);
	put(p, bytes, sizeof bytes);
}

void kc_proto_head(struct kc_proto *p, int field, uint64_t size)
{
	put_tag(p, field, WIRE_LENGTH);
	put_varint(p, size);
}

void kc_proto_bytes(struct kc_proto *p, int field, const void *data, size_t size)
{
	kc_proto_head(p, field, size);
	put(p, data, size);
}

void kc_proto_text(struct kc_proto *p, int field, const char *text)
{
	kc_proto_bytes(p, field, text, strlen(text));
}

void kc_proto_append(struct kc_proto *p, const struct kc_proto *more)
{
	if (more->err)
		p->err = more->err;
	put(p, more->data, more->size);
}

void kc_proto_message(struct kc_proto *p, int field, const struct kc_proto *inner)
{
	if (inner->err)
		p->err = inner->err;
	kc_proto_bytes(p, field, inner->data, inner->size);
}
