#include "eval/results.h"

#include <stdlib.h>
#include <string.h>

static bool same_folder(const char *a, const char *b)
{
	char *x = realpath(a, NULL), *y = realpath(b, NULL);
	bool same = x && y && !strcmp(x, y);

	free(x);
	free(y);
	return same;
}

char *kc_results_folder(const struct kc_results *r, const char *suffix)
{
	bool single =
		r->data->n == 1 && !r->data->pack && same_folder(r->clip->path, r->data->path);
	size_t length = strlen(r->output);

	while (length > 1 && r->output[length - 1] == '/')
		length--;
	return kc_format("%.*s%s%s%s", (int)length, r->output, suffix, single ? "" : "/",
			 single ? "" : r->clip->name);
}

int kc_results_make(const struct kc_results *r, const char *folder)
{
	KC_TRY(kc_dir_make(folder));
	if (r->clip->path && same_folder(r->clip->path, folder))
		return KC_FAIL(KC_ECONFIG,
			       "-o %s: the frames of %s are in %s; take another folder",
			       r->output, r->clip->name, folder);
	return 0;
}

/* "FOLDER/00012.png": the frame's own name with another ending. */
static char *path_of(const struct kc_results *r, const char *folder, int64_t frame)
{
	const char *name, *dot;

	if (r->clip->pack)
		return kc_format("%s/%05lld.png", folder, (long long)frame);
	name = r->clip->files.v[frame];
	dot = strrchr(name, '.');
	return kc_format("%s/%.*s.png", folder, (int)(dot ? dot - name : (long)strlen(name)),
			 name);
}

int kc_results_write(const struct kc_results *r, const char *folder, int64_t frame,
		     const struct kc_picture *p)
{
	const struct kc_image image = {
		.width = p->width, .height = p->height, .rgb = (uint8_t *)p->rgb};
	char *path = path_of(r, folder, frame);
	int rc = path ? kc_image_write(path, &image, 0) : KC_ENOMEM;

	free(path);
	return rc;
}
