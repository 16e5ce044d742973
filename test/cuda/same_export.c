/* Exports of layers on the device in either layout: the file that the CPU writes. */
#include <stdlib.h>
#include <unistd.h>
#include "cuda/both.h"
#include "cuda/suites.h"

enum { IN = 301, OUT = 700, RANK = 2 }; /* several pieces of a transpose */

/* A path that nobody else has; the file is there, and empty. */
static void new_path(char path[64])
{
    strcpy(path, "/tmp/relora-cuda-XXXXXX");
    int file = mkstemp(path);
    ck_assert_int_ge(file, 0);
    close(file);
}

/* Multiples of 1/8, so that W + s B A is exact in any order of sums. */
static void put_coarse(relora_tensor *t, struct rnd *r)
{
    int64_t n = relora_tensor_count(t);
    double *values = doubles(n);
    for (int64_t i = 0; i < n; i++) values[i] = floor(rnd_uniform(r, -8, 9)) / 8;
    put(t, values);
}

static relora_linear *layer_of(relora_dtype dtype, relora_linear_mode mode, struct rnd *r)
{
    relora_linear_options o = layer_options(mode, IN, OUT, RANK);
    o.dtype = dtype, o.alpha = RANK, o.flags = RELORA_LINEAR_KEEP_DELTA;
    relora_linear *l = new_linear(&o);
    relora_tensor *w = new_matrix(dtype, OUT, IN);
    put_coarse(w, r);
    OK(relora_linear_set_weight(l, w, NULL));
    if (mode == RELORA_MODE_FULL) return l;
    put_coarse(relora_linear_param(l, RELORA_PARAM_A), r);
    put_coarse(relora_linear_param(l, RELORA_PARAM_B), r);
    OK(relora_linear_merge(l, env.st, 1, NULL)); /* so that there is a delta */
    return l;
}

static void keep_file(struct results *out, const char *path, relora_dtype dtype, relora_layout layout)
{
    relora_reader *reader;
    int turned = layout == RELORA_LAYOUT_IN_OUT;
    relora_tensor *t = new_matrix(dtype, turned ? IN : OUT, turned ? OUT : IN);
    OK(relora_reader_open(&reader, env.ctx, path));
    OK(relora_reader_read(reader, env.st, "l.weight", t, 0));
    keep(out, turned ? "[in, out]" : "[out, in]", t);
    relora_reader_release(reader);
}

static void export(struct results *out, int variant)
{
    struct rnd r = rnd_seed(4);
    relora_dtype dtype = variant % 2 ? RELORA_BF16 : RELORA_F32;
    int full = variant / 2;
    relora_linear *l = layer_of(dtype, full ? RELORA_MODE_FULL : RELORA_MODE_LORA, &r);
    relora_state *state;
    char path[64];
    new_path(path);
    OK(relora_state_create(&state, env.ctx));
    OK(relora_state_add_linear(state, "l", l));
    for (relora_layout layout = RELORA_LAYOUT_OUT_IN; layout <= RELORA_LAYOUT_IN_OUT; layout++) {
        OK(relora_state_set_export_layout(state, layout));
        OK(relora_state_export_merged(state, env.st, path));
        keep_file(out, path, dtype, layout);
        if (full) continue;
        OK(relora_state_export_delta(state, env.st, path));
        keep_file(out, path, RELORA_F32, layout);
    }
    relora_state_release(state);
    unlink(path);
}

START_TEST(test_export) { same_on_both(export, _i); }
END_TEST

Suite *same_export(void)
{
    Suite *s = suite_create("CPU and device: exports");
    TCase *tc = env_case(s, "exports", 60);
    tcase_add_loop_test(tc, test_export, 0, 4);
    return s;
}
