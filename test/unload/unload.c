/* unload LIBRARY: a host that loads the library in a thread, computes with two threads, unloads it, and whose
 * thread then ends; several times. OpenMP's threads are still there, and need the code they came from, so
 * the library stays in the process. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <relora/relora.h>

enum { ROUNDS = 6, SIZE = 256 };

static void *symbol(void *library, const char *name)
{
    void *found = dlsym(library, name);
    if (!found) fprintf(stderr, "unload: %s\n", dlerror()), exit(2);
    return found;
}

#define TAKE(name) \
    __typeof__(&relora_##name) name = (__typeof__(&relora_##name))symbol(library, "relora_" #name)

static int compute(void *library)
{
    TAKE(context_options_init);
    TAKE(context_create);
    TAKE(context_release);
    TAKE(device_get);
    TAKE(stream_create);
    TAKE(stream_release);
    TAKE(tensor_create);
    TAKE(tensor_fill);
    TAKE(tensor_release);
    TAKE(linear_options_init);
    TAKE(linear_create);
    TAKE(linear_set_weight);
    TAKE(linear_forward);
    TAKE(linear_release);
    const int64_t shape[] = {SIZE, SIZE};
    relora_context *ctx;
    relora_context_options c;
    relora_stream *stream;
    relora_tensor *w, *x, *y;
    relora_linear *layer;
    relora_linear_options o;
    if (context_options_init(&c, sizeof c)) return 1;
    c.threads = 2;
    if (context_create(&ctx, &c)) return 1;
    relora_device *cpu = device_get(ctx, RELORA_DEVICE_CPU, 0);
    if (stream_create(&stream, cpu) || tensor_create(&w, cpu, RELORA_F32, 2, shape) ||
        tensor_create(&x, cpu, RELORA_F32, 2, shape) || tensor_create(&y, cpu, RELORA_F32, 2, shape) ||
        tensor_fill(w, stream, 0.1) || tensor_fill(x, stream, 0.1) || linear_options_init(&o, sizeof o))
        return 1;
    o.in_features = o.out_features = SIZE;
    o.rank = 8;
    if (linear_create(&layer, cpu, &o) || linear_set_weight(layer, w, NULL)) return 1;
    int failed = linear_forward(layer, stream, x, y, 0, RELORA_TRAIN) < 0;
    linear_release(layer);
    tensor_release(w);
    tensor_release(x);
    tensor_release(y);
    stream_release(stream);
    context_release(ctx);
    return failed;
}

static void *use(void *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) fprintf(stderr, "unload: %s\n", dlerror()), exit(2);
    int failed = compute(library);
    dlclose(library);
    return failed ? path : NULL;
}

int main(int argc, char **argv)
{
    alarm(60);
    if (argc != 2) return 2;
    for (int i = 0; i < ROUNDS; i++) {
        pthread_t thread;
        void *failed = argv[1];
        if (!pthread_create(&thread, NULL, use, argv[1])) pthread_join(thread, &failed);
        if (failed) return fprintf(stderr, "unload: a call failed\n"), 1;
    }
    void *still = dlopen(argv[1], RTLD_NOW | RTLD_NOLOAD);
    if (!still) return fprintf(stderr, "unload: the library was unmapped\n"), 1;
    dlclose(still);
    return 0;
}
