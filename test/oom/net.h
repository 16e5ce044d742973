/* Two layers of one recipe with an optimizer, a schedule and a cycle, made and trained by calls that survive
 * refused memory. The second layer is larger than the first, and merged in two slices. */
#ifndef TEST_OOM_NET_H
#define TEST_OOM_NET_H

#include "oom/oom.h"

enum { NET_LAYERS = 2 };

struct net {
    struct recipe recipe;
    relora_linear *layer[NET_LAYERS];
    relora_tensor *x[NET_LAYERS], *y[NET_LAYERS], *dy[NET_LAYERS], *dx[NET_LAYERS];
    relora_adam *adam;
    relora_schedule *schedule;
    relora_cycle *cycle; /* NULL unless the mode is LORA */
};

/** Lives until env_close(). */
void net_make(struct net *net, const struct recipe *recipe);
/** FULL to LORA, and an optimizer and a cycle for what is trained now. */
void net_end_warm_start(struct net *net);
/** Updates `from` to `to`: two micro-batches, a step with a report, and what the cycle does then. */
void net_train(struct net *net, int from, int to);
/** Everything that is trained, kept or counted; and its gradients, if asked for. */
struct raw net_contents(const struct net *net, int gradients);

#endif
