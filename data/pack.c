#include "data/pack_private.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t library = PTHREAD_MUTEX_INITIALIZER;

void kc_pack_lock(void)
{
	pthread_mutex_lock(&library);
	H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
	H5PLset_loading_state(0);
}

void kc_pack_unlock(void)
{
	pthread_mutex_unlock(&library);
}

static herr_t keep_innermost(unsigned n, const H5E_error2_t *e, void *text)
{
	(void)n;
	snprintf(text, 160, "%s", e->desc ? e->desc : "");
	return 0;
}

int kc_pack_fail(int err, const char *what)
{
	char text[160] = "";

	H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, keep_innermost, text);
	return *text ? KC_FAIL(err, "%s: %s", what, text) : KC_FAIL(err, "%s", what);
}

int kc_pack_transfer(hid_t d, int rank, hsize_t i, const hsize_t *tail, hid_t type, void *to,
		    const void *from)
{
	hsize_t start[4] = {i}, count[4] = {1};
	hid_t file = H5Dget_space(d), memory;
	herr_t rc = -1;

	for (int k = 1; k < rank; k++)
		count[k] = tail[k - 1];
	memory = H5Screate_simple(rank, count, NULL);
	if (file >= 0 && memory >= 0 &&
	    H5Sselect_hyperslab(file, H5S_SELECT_SET, start, NULL, count, NULL) >= 0)
		rc = to ? H5Dread(d, type, memory, file, H5P_DEFAULT, to)
			: H5Dwrite(d, type, memory, file, H5P_DEFAULT, from);
	if (file >= 0)
		H5Sclose(file);
	if (memory >= 0)
		H5Sclose(memory);
	return rc < 0 ? kc_pack_fail(KC_EIO, to ? "cannot read" : "cannot write") : 0;
}

void kc_pack_clip_close(struct kc_pack_clip *c)
{
	for (int i = 0; i < 2 * KC_PACK_OFFSETS; i++)
		if (c->flow[i / 2][i % 2] > 0)
			H5Dclose(c->flow[i / 2][i % 2]);
	if (c->data > 0)
		H5Dclose(c->data);
	free(c->index);
	free(c->name);
	memset(c, 0, sizeof *c);
}
