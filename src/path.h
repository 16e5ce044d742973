/* How matrix products are made, in words. */
#ifndef RELORA_SRC_PATH_H
#define RELORA_SRC_PATH_H

#include "call.h"

enum { PATH_TEXT = 96 };

/* Such as "the library's own product with AVX2, which converts", in `text`. */
const char *path_text(const struct gemm_path *path, char text[PATH_TEXT]);

/* Fills device->product, of products like those of layers. By one thread, so that no choice depends on how many
 * there are. */
relora_status path_open(struct relora_device *device);

/* One line at INFO: what this build multiplies with on this processor. */
void path_log(const struct call *c, const struct relora_device *device);

#endif
