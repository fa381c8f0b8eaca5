/* For runs within the tests cuda:0 is the emulated device; other plugins are those of the build. */
#include "core/plugin.h"
#include "layers/devices.h"

#include <string.h>

extern struct kc_cuda_plugin kc_cuda_plugin;
int __real_kc_plugin_symbol(const char *name, const char *symbol, void **out);
int __wrap_kc_plugin_symbol(const char *name, const char *symbol, void **out);

int __wrap_kc_plugin_symbol(const char *name, const char *symbol, void **out)
{
	if (strcmp(name, "cuda"))
		return __real_kc_plugin_symbol(name, symbol, out);
	*out = &kc_cuda_plugin;
	return 0;
}
