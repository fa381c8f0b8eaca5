#include "core/plugin.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The folder of the program, with its last slash. */
static int program_folder(char *path, size_t size)
{
	ssize_t n = readlink("/proc/self/exe", path, size - 1);
	char *slash;

	path[n < 0 ? 0 : n] = '\0';
	slash = strrchr(path, '/');
	if (!slash)
		return KC_FAIL(KC_EIO, "the folder of this program is not known");
	slash[1] = '\0';
	return 0;
}

static int find(const char *name, char *path, size_t size)
{
	static const char *const places[] = {"", "../lib/kinemacolor/"};
	char folder[PATH_MAX];

	KC_TRY(program_folder(folder, sizeof folder));
	for (size_t i = 0; i < KC_COUNT(places); i++) {
		int n = snprintf(path, size, "%s%slibkc_%s.so", folder, places[i], name);

		if (n > 0 && (size_t)n < size && access(path, R_OK) == 0)
			return 0;
	}
	return KC_FAIL(KC_ENOENT, "this installation was built without libkc_%s.so", name);
}

int kc_plugin_symbol(const char *name, const char *symbol, void **out)
{
	char path[PATH_MAX + 64];
	void *library;

	KC_TRY(find(name, path, sizeof path));
	library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
	*out = library ? dlsym(library, symbol) : NULL;
	return *out ? 0 : KC_FAIL(KC_ENOSUP, "%s", dlerror());
}
