/* The plugin's only symbol. */
#include "layers/cuda/cuda.h"
#include "layers/devices.h"

/* The build is filled in when the plugin is loaded. */
__attribute__((visibility("default"))) struct kc_cuda_plugin kc_cuda_plugin = {
	.open = kc_cuda_open, .list = kc_cuda_list,
};

__attribute__((constructor)) static void set_build(void)
{
	kc_cuda_plugin.build = kc_plugin_build();
}
