/* The machine that the numbers are of, in words: its processor, and what multiplies there. */
#include "bench.h"
#include <unistd.h>

static void processor_name(char *name, size_t size)
{
    char line[256];
    FILE *info = fopen("/proc/cpuinfo", "r");
    snprintf(name, size, "unknown processor");
    while (info && fgets(line, sizeof line, info))
        if (strncmp(line, "model name", 10) == 0 && strchr(line, ':')) {
            snprintf(name, size, "%s", strchr(line, ':') + 2);
            name[strcspn(name, "\n\"\\")] = 0;
            break;
        }
    if (info) fclose(info);
}

/* What multiplies in a layer like those that are measured, as the library tells. */
static void product_name(const struct bench *bench, relora_dtype dtype, char *name, size_t size)
{
    static const char *const providers[] = {"nothing", "own product", "oneDNN", "BLAS"};
    static const char *const sets[] = {"",           " with base instructions", " with NEON",
                                       " with AVX2", " with AVX-512",           " with AMX"};
    relora_plan_report plan = {.struct_size = sizeof plan};
    relora_linear *layer = new_layer(bench, RELORA_MODE_FULL, dtype, shapes[0], 0, 0);
    CHECK(bench, relora_linear_plan(layer, TOKENS, 0, &plan));
    relora_linear_release(layer);
    snprintf(name, size, "%s%s%s", providers[plan.forward_provider], sets[plan.forward_isa],
             plan.forward_converts ? " in F32" : "");
}

struct machine machine_of(const struct bench *bench)
{
    struct machine m = {.cores = (int)sysconf(_SC_NPROCESSORS_ONLN), .threads = bench->threads};
    processor_name(m.processor, sizeof m.processor);
    product_name(bench, RELORA_F32, m.f32, sizeof m.f32);
    product_name(bench, RELORA_BF16, m.bf16, sizeof m.bf16);
    return m;
}

void machine_print(const struct machine *m)
{
    printf("%s, %d cores, %d threads\n", m->processor, m->cores, m->threads);
    printf("F32 by %s, BF16 by %s\n", m->f32, m->bf16);
    printf("librelora %s (%s)\n", relora_version_string(), relora_build_info());
}

void machine_head(const struct machine *m, char *head, size_t size)
{
    snprintf(
        head, size,
        "  \"cpu\": \"%s\",\n  \"cores\": %d,\n  \"threads\": %d,\n  \"f32\": \"%s\",\n  \"bf16\": \"%s\",\n"
        "  \"version\": \"%s\",\n  \"build\": \"%s\",\n",
        m->processor, m->cores, m->threads, m->f32, m->bf16, relora_version_string(), relora_build_info());
}
