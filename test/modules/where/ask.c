/* ask [MODULE_DIR]: how many CUDA devices there are, and why not more. */
#include <relora/relora.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    relora_context_options o;
    relora_context *ctx;
    char why[512] = "";
    if (relora_context_options_init(&o, sizeof o) < 0) return 1;
    o.module_dir = argc > 1 ? argv[1] : NULL;
    if (relora_context_create(&ctx, &o) < 0) return 1;
    int32_t count = relora_device_count(ctx, RELORA_DEVICE_CUDA);
    relora_device *device = relora_device_get(ctx, RELORA_DEVICE_CUDA, 0);
    relora_context_error(ctx, why, sizeof why, NULL);
    printf("%d %s\n", (int)count, device ? relora_device_name(device) : why);
    relora_context_release(ctx);
    return 0;
}
