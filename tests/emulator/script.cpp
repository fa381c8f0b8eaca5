/* What scripts ask of a program whose device is emulated. */
#include "tests/emulator/private.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>

static unsigned long number(const char *variable, unsigned long otherwise)
{
	const char *text = getenv(variable);

	return text && *text ? strtoul(text, NULL, 10) : otherwise;
}

int emu_script_devices(void)
{
	static const int n = (int)number("KC_EMULATED_DEVICES", 1);

	return n;
}

/* Reports when the program ends. */
struct counts {
	unsigned long launches = 0, first_recorded = 0, last_recorded = 0;
	size_t most = 0;

	~counts()
	{
		const char *path = getenv("KC_EMULATED_REPORT");
		FILE *f = path ? fopen(path, "w") : NULL;

		if (!f)
			return;
		fprintf(f, "%lu %lu %lu %zu\n", launches, first_recorded, last_recorded, most);
		fclose(f);
	}
};

static struct counts counts;

size_t emu_script_memory(void)
{
	static const size_t bytes = number("KC_EMULATED_MB", 16384) * 1000000;

	return bytes;
}

void emu_script_in_use(size_t bytes)
{
	if (bytes > counts.most)
		counts.most = bytes;
}

void emu_script_launch(bool recorded)
{
	static const unsigned long end = number("KC_EMULATED_KILL", 0);
	static bool over;

	if (++counts.launches == end)
		raise(SIGKILL);
	if (recorded && !counts.first_recorded)
		counts.first_recorded = counts.launches;
	if (recorded && !over)
		counts.last_recorded = counts.launches;
	over |= !recorded && counts.last_recorded;
}
