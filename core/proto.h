/*
 * Protocol Buffers, wire format, writing only: a message is a run of fields, each a tag (number
 * and wire type) and a value.  A growing buffer; errors stick and are told at the end.
 *
 * Source: protobuf.dev, "Encoding".
 */
#ifndef KC_CORE_PROTO_H
#define KC_CORE_PROTO_H

#include "core/base.h"

struct kc_proto {
	unsigned char *data;
	size_t size, room;
	int err;                        /* 0 or KC_ENOMEM */
};

void kc_proto_release(struct kc_proto *);
/* int32, int64, bool and enum fields. */
void kc_proto_int(struct kc_proto *, int field, int64_t value);
void kc_proto_float(struct kc_proto *, int field, float value);
void kc_proto_bytes(struct kc_proto *, int field, const void *data, size_t size);
void kc_proto_text(struct kc_proto *, int field, const char *text);
/* A finished message as a field of another one. */
void kc_proto_message(struct kc_proto *, int field, const struct kc_proto *inner);
/* The fields of another message behind those of this one. */
void kc_proto_append(struct kc_proto *, const struct kc_proto *more);
/* The head of a field whose `size` bytes are written elsewhere, behind it. */
void kc_proto_head(struct kc_proto *, int field, uint64_t size);

#endif
