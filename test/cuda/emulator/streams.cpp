/* Streams and events. Work is queued, and runs when somebody waits for it or when chance says so; what no
 * stream or event orders runs in any order, so that a wait that is missing shows. */
#include <algorithm>
#include <chrono>

#include "internal.h"

namespace emulated {
namespace {

std::set<CUstream_st *> streams;
std::set<CUevent_st *> events;
CUstream_st *legacy[MOST_DEVICES];

enum { MOST_QUEUED = 4096, PATIENCE = 1000 };

int questions; /* since something ran */

CUstream_st *make_stream(int device, bool is_legacy, bool blocking)
{
    CUstream_st *s = new CUstream_st;
    s->device = device;
    s->legacy = is_legacy;
    s->blocking = blocking;
    return s;
}

bool is_idle(const CUstream_st *s) { return s->next == s->queue.size(); }

bool can_run(const op &o)
{
    return std::all_of(o.after.begin(), o.after.end(), [](const std::shared_ptr<op> &p) { return p->done; });
}

/* The first in the queue of `s`, which must be able to. */
void run_first(CUstream_st *s)
{
    std::shared_ptr<op> o = s->queue[s->next++];
    questions = 0;
    if (is_idle(s)) s->queue.clear(), s->next = 0;
    if (o->work) o->work();
    o->work = nullptr;
    o->after.clear();
    o->time = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
    o->done = true;
}

std::vector<CUstream_st *> streams_of(int device)
{
    std::vector<CUstream_st *> found;
    for (CUstream_st *s : streams)
        if (s->device == device || device < 0) found.push_back(s);
    for (CUstream_st *s : legacy)
        if (s && (s->device == device || device < 0)) found.push_back(s);
    return found;
}

/* Which of them could run something now: one of the first, as chance has it. NULL if none. */
CUstream_st *choose(const std::vector<CUstream_st *> &from)
{
    size_t start = from.empty() ? 0 : (size_t)chance(from.size());
    for (size_t i = 0; i < from.size(); i++) {
        CUstream_st *s = from[(start + i) % from.size()];
        if (!is_idle(s) && can_run(*s->queue[s->next])) return s;
    }
    return nullptr;
}

} // namespace

CUstream_st *find_stream(cudaStream_t stream)
{
    if (stream && stream != cudaStreamLegacy) return streams.count(stream) && !stream->destroyed ? stream : nullptr;
    int device = current_device();
    if (!legacy[device]) legacy[device] = make_stream(device, true, true);
    return legacy[device];
}

int device_of(cudaStream_t stream)
{
    CUstream_st *s = find_stream(stream);
    return s ? s->device : current_device();
}

/* The legacy stream waits for all blocking streams, and they for it. */
static void order_with_legacy(CUstream_st *s, op *o)
{
    if (s->legacy) {
        for (CUstream_st *other : streams)
            if (other->device == s->device && other->blocking && other->last) o->after.push_back(other->last);
    } else if (s->blocking && legacy[s->device] && legacy[s->device]->last) {
        o->after.push_back(legacy[s->device]->last);
    }
}

static std::shared_ptr<op> append(CUstream_st *s, const char *what, std::function<void()> work,
                                  std::shared_ptr<op> after)
{
    auto o = std::make_shared<op>();
    o->what = what;
    o->work = std::move(work);
    o->stream = s;
    if (after && !after->done) o->after.push_back(after);
    order_with_legacy(s, o.get());
    s->queue.push_back(o);
    s->last = o;
    if (s->queue.size() - s->next > MOST_QUEUED) run_until(o);
    maybe_run_something();
    return o;
}

/* A blocking stream that is captured is implicitly part of what the legacy stream waits for. */
static cudaError_t legacy_in_capture(const CUstream_st *s)
{
    if (!s->legacy) return cudaSuccess;
    for (CUstream_st *other : streams)
        if (other->device == s->device && other->blocking && is_capturing(other))
            return spoil(other, cudaErrorStreamCaptureImplicit);
    return cudaSuccess;
}

bool legacy_is_drawn_in(const CUstream_st *s)
{
    return s->legacy && std::any_of(streams.begin(), streams.end(), [=](const CUstream_st *other) {
        return other->device == s->device && other->blocking && is_capturing(other);
    });
}

cudaError_t enqueue(cudaStream_t stream, const char *what, std::function<void()> work)
{
    CUstream_st *s = find_stream(stream);
    if (!s) return failed(cudaErrorInvalidResourceHandle);
    if (is_capturing(s)) return capture_op(s, what, std::move(work));
    if (cudaError_t error = legacy_in_capture(s)) return failed(error);
    append(s, what, std::move(work), nullptr);
    return cudaSuccess;
}

/* No more than is needed for it. What an operation waits for was queued before it, so this ends. */
void run_until(const std::shared_ptr<op> &wanted)
{
    if (!wanted || wanted->done) return;
    open_memory open(wanted->stream->device); /* once for all of it */
    while (!wanted->done) {
        CUstream_st *s = wanted->stream;
        std::shared_ptr<op> first = s->queue[s->next];
        for (const std::shared_ptr<op> &before : std::vector<std::shared_ptr<op>>(first->after)) run_until(before);
        if (!first->done) run_first(s);
    }
}

void run_everything(int device)
{
    std::vector<CUstream_st *> all = streams_of(device);
    if (std::all_of(all.begin(), all.end(), is_idle)) return;
    open_memory open(device);
    for (;;) {
        CUstream_st *s = choose(all);
        if (!s) { /* what is left waits for another device */
            auto waits = std::find_if(all.begin(), all.end(), [](CUstream_st *t) { return !is_idle(t); });
            if (waits == all.end()) return;
            run_until((*waits)->last);
            continue;
        }
        run_first(s);
    }
}

void maybe_run_something()
{
    if (strictly_lazy() || chance(4)) return;
    for (uint64_t n = chance(4); n; n--) {
        CUstream_st *s = choose(streams_of(-1));
        if (!s) return;
        open_memory open(s->device);
        run_first(s);
    }
}

/* Streams that were destroyed do what they had to, so that the memory they were to free does not pile up. */
static void bury()
{
    for (CUstream_st *s : streams)
        if (s->destroyed) run_until(s->last);
    for (auto s = streams.begin(); s != streams.end();) {
        bool gone = (*s)->destroyed && !is_capturing(*s);
        if (gone) delete *s;
        s = gone ? streams.erase(s) : std::next(s);
    }
}

int stream_objects()
{
    auto lives = [](const CUstream_st *s) { return !s->destroyed; };
    return (int)(std::count_if(streams.begin(), streams.end(), lives) + (ptrdiff_t)events.size());
}

void forget_streams()
{
    for (CUstream_st *s : streams) delete s;
    for (CUevent_st *e : events) delete e;
    for (CUstream_st *&s : legacy) {
        delete s;
        s = nullptr;
    }
    streams.clear();
    events.clear();
}

} // namespace emulated

using namespace emulated;

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    EMULATED_CALL();
    if (!stream || flags > cudaStreamNonBlocking) return failed(cudaErrorInvalidValue);
    bury();
    *stream = make_stream(current_device(), false, !(flags & cudaStreamNonBlocking));
    streams.insert(*stream);
    return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t *stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }

/* Its work is still done, at some time. */
cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    EMULATED_CALL();
    CUstream_st *s = stream && stream != cudaStreamLegacy ? find_stream(stream) : nullptr;
    if (!s) return failed(cudaErrorInvalidResourceHandle);
    if (is_capturing(s)) spoil(s, cudaErrorStreamCaptureInvalidated);
    s->destroyed = true;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    EMULATED_CALL();
    CUstream_st *s = find_stream(stream);
    if (!s) return failed(cudaErrorInvalidResourceHandle);
    if (is_capturing(s)) return spoil(s, cudaErrorStreamCaptureUnsupported);
    if (cudaError_t error = legacy_in_capture(s)) return failed(error);
    run_until(s->last);
    if (s->legacy) /* it stands for all blocking streams */
        for (CUstream_st *other : streams)
            if (other->device == s->device && other->blocking) run_until(other->last);
    return failed(cudaSuccess);
}

/* Something runs at each question, or at last, so that a program that asks again and again comes to an end. */
static void answer_question(const std::shared_ptr<op> &first)
{
    if (!strictly_lazy() || ++questions >= PATIENCE) run_until(first);
}

cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    EMULATED_CALL();
    CUstream_st *s = find_stream(stream);
    if (!s) return failed(cudaErrorInvalidResourceHandle);
    if (is_capturing(s)) return spoil(s, cudaErrorStreamCaptureUnsupported);
    if (is_idle(s)) return cudaSuccess;
    answer_question(s->queue[s->next]);
    return cudaErrorNotReady;
}

cudaError_t cudaDeviceSynchronize()
{
    EMULATED_CALL();
    if (cudaError_t error = unsafe_in_capture()) return failed(error);
    run_everything(current_device());
    return failed(cudaSuccess);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    EMULATED_CALL();
    if (!event) return failed(cudaErrorInvalidValue);
    *event = new CUevent_st;
    (*event)->device = current_device();
    (*event)->timed = !(flags & cudaEventDisableTiming);
    events.insert(*event);
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    EMULATED_CALL();
    if (!events.erase(event)) return failed(cudaErrorInvalidResourceHandle);
    delete event;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    EMULATED_CALL();
    CUstream_st *s = find_stream(stream);
    if (!s || !events.count(event) || event->device != s->device) return failed(cudaErrorInvalidResourceHandle);
    if (is_capturing(s)) {
        event->captured = s->capturing;
        event->heads = s->heads;
        event->recorded = nullptr;
        return cudaSuccess;
    }
    if (cudaError_t error = legacy_in_capture(s)) return failed(error);
    event->captured = nullptr;
    event->recorded = append(s, "an event", nullptr, nullptr);
    return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    EMULATED_CALL();
    if (!events.count(event)) return failed(cudaErrorInvalidResourceHandle);
    if (event->captured) return failed(cudaErrorCapturedEvent);
    if (cudaError_t error = unsafe_in_capture()) return failed(error);
    if (!event->recorded || event->recorded->done) return cudaSuccess;
    CUstream_st *s = event->recorded->stream;
    answer_question(s->queue[s->next]);
    return cudaErrorNotReady;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    EMULATED_CALL();
    if (!events.count(event)) return failed(cudaErrorInvalidResourceHandle);
    if (event->captured) return failed(cudaErrorCapturedEvent);
    if (cudaError_t error = unsafe_in_capture()) return failed(error);
    run_until(event->recorded);
    return failed(cudaSuccess);
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t start, cudaEvent_t end)
{
    EMULATED_CALL();
    if (!milliseconds) return failed(cudaErrorInvalidValue);
    if (!events.count(start) || !events.count(end) || !start->timed || !end->timed || !start->recorded ||
        !end->recorded)
        return failed(cudaErrorInvalidResourceHandle);
    if (!start->recorded->done || !end->recorded->done) return cudaErrorNotReady;
    *milliseconds = (float)(end->recorded->time - start->recorded->time);
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
    EMULATED_CALL();
    CUstream_st *s = find_stream(stream);
    if (!s || !events.count(event)) return failed(cudaErrorInvalidResourceHandle);
    if (event->captured) return capture_wait(s, event);
    if (is_capturing(s)) return event->recorded ? spoil(s, cudaErrorStreamCaptureIsolation) : cudaSuccess;
    if (cudaError_t error = legacy_in_capture(s)) return failed(error);
    append(s, "a wait for an event", nullptr, event->recorded);
    return cudaSuccess;
}
