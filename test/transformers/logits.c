/* logits FOLDER VOCAB HIDDEN FFN HEADS LAYERS DTYPE TOKEN...: the logits that the model of examples/pretrain
 * gives after those tokens, one number a line, from the weights of an exported folder. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../examples/pretrain/model.h"
#include "../../examples/pretrain/report.h"

enum { TOKENS = 256 };

static int64_t number(const char *text)
{
    return strtoll(text, NULL, 10);
}

static int print_logits(relora_context *ctx, relora_stream *stream, struct model *model,
                        const int32_t *tokens, int64_t count, int64_t vocab)
{
    struct activations *acts;
    float *logits = malloc((size_t)vocab * sizeof *logits);
    if (!logits || check(ctx, activations_create(&acts, model, stream, 1, count), "activations")) return 1;
    int result = check(ctx, model_next(model, acts, stream, tokens, count - 1, logits), "forward");
    for (int64_t i = 0; i < vocab && !result; i++) printf("%.9g\n", (double)logits[i]);
    activations_destroy(acts);
    free(logits);
    return result != 0;
}

int main(int argc, char **argv)
{
    relora_context *ctx;
    relora_stream *stream;
    relora_reader *reader;
    struct model *model;
    int32_t tokens[TOKENS] = {0};
    char path[4096];
    if (argc < 9 || argc > 8 + TOKENS) return 2;
    int bf16 = strcmp(argv[7], "bfloat16") == 0;
    struct model_config config = {.vocab = number(argv[2]), .hidden = number(argv[3]), .ffn = number(argv[4]),
                                  .heads = number(argv[5]), .layers = number(argv[6]),
                                  .dtype = bf16 ? RELORA_BF16 : RELORA_F32, .mode = RELORA_MODE_FULL,
                                  .alpha = 1, .threads = 1};
    for (int i = 8; i < argc; i++) tokens[i - 8] = (int32_t)number(argv[i]);
    snprintf(path, sizeof path, "%s/model.safetensors", argv[1]);
    if (check(NULL, relora_context_create(&ctx, NULL), "context")) return 1;
    relora_device *cpu = relora_device_get(ctx, RELORA_DEVICE_CPU, 0);
    if (check(ctx, relora_stream_create(&stream, cpu), "stream") ||
        check(ctx, model_create(&model, ctx, stream, &config), "model") ||
        check(ctx, relora_reader_open(&reader, ctx, path), "file") ||
        check(ctx, model_read(model, stream, reader), "weights"))
        return 1;
    int result = print_logits(ctx, stream, model, tokens, argc - 8, config.vocab);
    relora_reader_release(reader);
    model_destroy(model);
    relora_stream_release(stream);
    relora_context_release(ctx);
    return result;
}
