/* Stream capture and graphs. What is captured is the same closures that a stream would have run; a graph
 * runs them as often as it is launched, in any order that the captured streams and events allow. */
#include <algorithm>
#include <thread>

#include "internal.h"

namespace emulated {

struct node {
    const char *what;
    std::function<void()> work;
    std::vector<std::shared_ptr<node>> after;
};

struct capture {
    CUstream_st *origin;
    cudaStreamCaptureMode mode;
    std::thread::id thread;
    bool spoiled = false;
    std::vector<std::shared_ptr<node>> nodes;
    std::vector<CUstream_st *> streams;
};

namespace {

std::vector<std::shared_ptr<capture>> captures; /* that are going on */
thread_local cudaStreamCaptureMode thread_mode = cudaStreamCaptureModeGlobal;
std::set<CUgraph_st *> graphs;
std::set<CUgraphExec_st *> execs;

using nodes = std::vector<std::shared_ptr<node>>;

/* Each after those that it follows, else as chance has it. */
void run_graph(const nodes &all)
{
    std::set<const node *> done;
    nodes left = all;
    while (!left.empty()) {
        size_t start = (size_t)chance(left.size()), i = 0;
        for (; i < left.size(); i++) {
            node *n = left[(start + i) % left.size()].get();
            bool ready = std::all_of(n->after.begin(), n->after.end(),
                                     [&](const std::shared_ptr<node> &p) { return done.count(p.get()) != 0; });
            if (!ready) continue;
            if (n->work) n->work();
            done.insert(n);
            left.erase(left.begin() + (ptrdiff_t)((start + i) % left.size()));
            break;
        }
    }
}

bool follows(const nodes &heads, const std::shared_ptr<node> &wanted)
{
    nodes open = heads;
    std::set<const node *> seen;
    while (!open.empty()) {
        std::shared_ptr<node> n = open.back();
        open.pop_back();
        if (n == wanted) return true;
        if (seen.insert(n.get()).second) open.insert(open.end(), n->after.begin(), n->after.end());
    }
    return false;
}

void leave(const std::shared_ptr<capture> &c)
{
    for (CUstream_st *s : c->streams) {
        s->capturing = nullptr;
        s->heads.clear();
    }
    captures.erase(std::find(captures.begin(), captures.end(), c));
}

} // namespace

bool is_capturing(const CUstream_st *s) { return s->capturing != nullptr; }

cudaError_t spoil(CUstream_st *s, cudaError_t error)
{
    s->capturing->spoiled = true;
    return failed(error);
}

cudaError_t unsafe_in_capture()
{
    if (thread_mode == cudaStreamCaptureModeRelaxed) return cudaSuccess;
    for (const std::shared_ptr<capture> &c : captures) {
        if (c->mode == cudaStreamCaptureModeRelaxed) continue;
        if (c->mode == cudaStreamCaptureModeThreadLocal && c->thread != std::this_thread::get_id()) continue;
        c->spoiled = true;
        return cudaErrorStreamCaptureUnsupported;
    }
    return cudaSuccess;
}

cudaError_t capture_op(CUstream_st *s, const char *what, std::function<void()> work)
{
    if (s->capturing->spoiled) return failed(cudaErrorStreamCaptureInvalidated);
    auto n = std::make_shared<node>();
    n->what = what;
    n->work = std::move(work);
    n->after = s->heads;
    s->heads = {n};
    s->capturing->nodes.push_back(n);
    return cudaSuccess;
}

/* The stream joins the capture that the event was recorded in. */
cudaError_t capture_wait(CUstream_st *s, CUevent_st *event)
{
    bool going_on = std::find(captures.begin(), captures.end(), event->captured) != captures.end();
    if (!going_on) return failed(cudaErrorCapturedEvent);
    if (s->capturing && s->capturing != event->captured) {
        event->captured->spoiled = true;
        return spoil(s, cudaErrorStreamCaptureMerge);
    }
    if (event->captured->spoiled) return failed(cudaErrorStreamCaptureInvalidated);
    if (s->legacy) return failed(cudaErrorStreamCaptureImplicit);
    if (!s->capturing) {
        s->capturing = event->captured;
        s->capturing->streams.push_back(s);
    }
    for (const std::shared_ptr<node> &n : event->heads)
        if (!follows(s->heads, n)) s->heads.push_back(n);
    return cudaSuccess;
}

int graph_objects() { return (int)(graphs.size() + execs.size()); }

} // namespace emulated

using namespace emulated;

struct CUgraph_st {
    nodes all;
};
struct CUgraphExec_st {
    std::shared_ptr<const nodes> all; /* a launch that is queued keeps them */
};

namespace emulated {
void forget_graphs()
{
    for (CUgraph_st *g : graphs) delete g;
    for (CUgraphExec_st *e : execs) delete e;
    graphs.clear();
    execs.clear();
    captures.clear();
}
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode)
{
    EMULATED_CALL();
    CUstream_st *s = find_stream(stream);
    if (!s) return failed(cudaErrorInvalidResourceHandle);
    if (s->legacy) return failed(cudaErrorStreamCaptureUnsupported);
    if (s->capturing) return failed(cudaErrorInvalidValue);
    auto c = std::make_shared<capture>();
    c->origin = s;
    c->mode = mode;
    c->thread = std::this_thread::get_id();
    c->streams = {s};
    captures.push_back(c);
    s->capturing = c;
    s->heads.clear();
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    EMULATED_CALL();
    CUstream_st *s = find_stream(stream);
    if (!s) return failed(cudaErrorInvalidResourceHandle);
    if (!graph) return failed(cudaErrorInvalidValue);
    *graph = nullptr;
    std::shared_ptr<capture> c = s->capturing;
    if (!c) return failed(cudaErrorInvalidValue);
    if (c->origin != s) return spoil(s, cudaErrorStreamCaptureUnmatched);
    if (c->mode != cudaStreamCaptureModeRelaxed && c->thread != std::this_thread::get_id())
        return spoil(s, cudaErrorStreamCaptureWrongThread);
    nodes heads = s->heads;
    bool joined = true;
    for (CUstream_st *other : c->streams)
        for (const std::shared_ptr<node> &n : other->heads) joined = joined && follows(heads, n);
    leave(c);
    if (c->spoiled) return failed(cudaErrorStreamCaptureInvalidated);
    if (!joined) return failed(cudaErrorStreamCaptureUnjoined);
    *graph = new CUgraph_st{c->nodes};
    graphs.insert(*graph);
    return cudaSuccess;
}

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode *mode)
{
    EMULATED_CALL();
    if (!mode || (unsigned)*mode > cudaStreamCaptureModeRelaxed) return failed(cudaErrorInvalidValue);
    std::swap(*mode, thread_mode);
    return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus *status)
{
    EMULATED_CALL();
    CUstream_st *s = find_stream(stream);
    if (!s) return failed(cudaErrorInvalidResourceHandle);
    if (!status) return failed(cudaErrorInvalidValue);
    if (legacy_is_drawn_in(s)) return failed(cudaErrorStreamCaptureImplicit); /* *status stays; nothing is spoiled */
    *status = !s->capturing            ? cudaStreamCaptureStatusNone
              : s->capturing->spoiled ? cudaStreamCaptureStatusInvalidated
                                       : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long)
{
    EMULATED_CALL();
    if (!exec || !graphs.count(graph)) return failed(cudaErrorInvalidValue);
    *exec = new CUgraphExec_st{std::make_shared<const nodes>(graph->all)};
    execs.insert(*exec);
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    EMULATED_CALL();
    if (!execs.count(exec)) return failed(cudaErrorInvalidValue);
    std::shared_ptr<const nodes> all = exec->all;
    return enqueue(stream, "a graph", [all] { run_graph(*all); });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    EMULATED_CALL();
    if (!graphs.erase(graph)) return failed(cudaErrorInvalidValue);
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    EMULATED_CALL();
    if (!execs.erase(exec)) return failed(cudaErrorInvalidValue);
    delete exec;
    return cudaSuccess;
}
