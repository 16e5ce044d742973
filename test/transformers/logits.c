/* logits FOLDER DTYPE TOKEN...: the logits that the model of examples/pretrain gives after those tokens, one
 * number a line, of a Llama folder taken as --init takes it; DTYPE is f32 or bf16. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../examples/pretrain/llama.h"
#include "../../examples/pretrain/report.h"
#include "../../examples/pretrain/train.h"

enum { TOKENS = 256 };

static int print_logits(const struct trainer *t, const int32_t *tokens, int64_t count)
{
    struct activations *acts;
    int64_t vocab = model_get_config(t->model)->vocab;
    float *logits = malloc((size_t)vocab * sizeof *logits);
    if (!logits || check(t->ctx, activations_create(&acts, t->model, t->stream, 1, count), "activations"))
        return 1;
    int result = check(t->ctx, model_next(t->model, acts, t->stream, tokens, count - 1, logits), "forward");
    for (int64_t i = 0; i < vocab && !result; i++) printf("%.9g\n", (double)logits[i]);
    activations_destroy(acts);
    free(logits);
    return result != 0;
}

int main(int argc, char **argv)
{
    struct options options = {.method = METHOD_FULL};
    struct trainer t = {.options = &options};
    int32_t tokens[TOKENS] = {0};
    if (argc < 4 || argc > 3 + TOKENS) return 2;
    for (int i = 3; i < argc; i++) tokens[i - 3] = (int32_t)strtol(argv[i], NULL, 10);
    options.init = argv[1];
    if (llama_read_config(&options.model, &options.config, options.init)) return 1;
    struct model_config config = options.model;
    config.dtype = strcmp(argv[2], "bf16") == 0 ? RELORA_BF16 : RELORA_F32;
    config.mode = RELORA_MODE_FULL;
    config.alpha = 1;
    config.threads = 1;
    if (check(NULL, relora_context_create(&t.ctx, NULL), "context")) return 1;
    relora_device *cpu = relora_device_get(t.ctx, RELORA_DEVICE_CPU, 0);
    if (check(t.ctx, relora_stream_create(&t.stream, cpu), "stream") ||
        check(t.ctx, model_create(&t.model, t.ctx, t.stream, &config), "model") || llama_init(&t))
        return 1;
    int result = print_logits(&t, tokens, argc - 3);
    model_destroy(t.model);
    relora_stream_release(t.stream);
    relora_context_release(t.ctx);
    json_decref(options.config);
    return result;
}
