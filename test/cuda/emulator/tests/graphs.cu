/* Capture of streams, and the graphs it makes. */
#include "tests.h"

static __global__ void set(int *x, int value) { *x = value; }
static __global__ void add(int *to, const int *from) { *to += *from; }

static cudaStream_t new_stream(unsigned flags = cudaStreamNonBlocking)
{
    cudaStream_t s;
    OK(cudaStreamCreateWithFlags(&s, flags));
    return s;
}

static cudaEvent_t new_event(void)
{
    cudaEvent_t e;
    OK(cudaEventCreateWithFlags(&e, cudaEventDisableTiming));
    return e;
}

static cudaStream_t begin(void)
{
    cudaStream_t s = new_stream();
    OK(cudaStreamBeginCapture(s, cudaStreamCaptureModeGlobal));
    return s;
}

static void must_be_spoiled(cudaStream_t s)
{
    cudaGraph_t graph;
    cudaStreamCaptureStatus status;
    OK(cudaStreamIsCapturing(s, &status));
    ck_assert_int_eq(status, cudaStreamCaptureStatusInvalidated);
    ck_assert_int_eq(launch_on(s, set, 1, 1, (int *)nullptr, 0), cudaErrorStreamCaptureInvalidated);
    ck_assert_int_eq(cudaStreamEndCapture(s, &graph), cudaErrorStreamCaptureInvalidated);
    ck_assert_ptr_null(graph);
    OK(cudaStreamIsCapturing(s, &status));
    ck_assert_int_eq(status, cudaStreamCaptureStatusNone);
}

START_TEST(replays)
{
    int zero = 0, got, one = 1, *x = device_copy(&zero, 1), *y = device_copy(&one, 1);
    cudaStream_t s = begin();
    OK(launch_on(s, add, 1, 1, x, (const int *)y));
    OK(cudaMemcpyAsync(&got, x, sizeof got, cudaMemcpyDeviceToHost, s));
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    OK(cudaStreamEndCapture(s, &graph));
    OK(cudaGraphInstantiate(&exec, graph, 0));
    OK(cudaGraphDestroy(graph));
    to_host(&got, x, 1);
    ck_assert_int_eq(got, 0); /* to capture is not to run */
    for (int i = 1; i <= 3; i++) {
        OK(cudaGraphLaunch(exec, s));
        OK(cudaStreamSynchronize(s));
        ck_assert_int_eq(got, i);
    }
    OK(cudaGraphLaunch(exec, s));
    OK(cudaGraphExecDestroy(exec)); /* while it is queued */
    OK(cudaStreamSynchronize(s));
    ck_assert_int_eq(got, 4);
}
END_TEST

/* Two streams that join: without the wait in the second, the graph goes wrong for some seed. */
static int wrong_graphs(int wait)
{
    int wrong = 0;
    for (uint64_t seed = 1; seed < 30; seed++) {
        emulated_cuda_seed(seed);
        int zero = 0, got, *x = device_copy(&zero, 1), *y = device_copy(&zero, 1);
        cudaStream_t s = begin(), t = new_stream();
        cudaEvent_t fork = new_event(), made = new_event(), join = new_event();
        OK(cudaEventRecord(fork, s));
        OK(cudaStreamWaitEvent(t, fork, 0));
        OK(launch_on(s, set, 1, 1, x, 3));
        OK(cudaEventRecord(made, s));
        if (wait) OK(cudaStreamWaitEvent(t, made, 0));
        OK(launch_on(t, add, 1, 1, y, (const int *)x));
        OK(cudaEventRecord(join, t));
        OK(cudaStreamWaitEvent(s, join, 0));
        cudaGraph_t graph;
        cudaGraphExec_t exec;
        OK(cudaStreamEndCapture(s, &graph));
        OK(cudaGraphInstantiate(&exec, graph, 0));
        OK(cudaGraphLaunch(exec, s));
        OK(cudaStreamSynchronize(s));
        to_host(&got, y, 1);
        wrong += got != 3;
    }
    return wrong;
}

START_TEST(forks_and_joins)
{
    ck_assert_int_eq(wrong_graphs(1), 0);
    ck_assert_int_gt(wrong_graphs(0), 3);
}
END_TEST

START_TEST(unjoined)
{
    int *x = device_array<int>(1);
    cudaStream_t s = begin(), t = new_stream();
    cudaEvent_t e = new_event();
    OK(cudaEventRecord(e, s));
    OK(cudaStreamWaitEvent(t, e, 0));
    OK(launch_on(t, set, 1, 1, x, 3));
    cudaGraph_t graph;
    ck_assert_int_eq(cudaStreamEndCapture(s, &graph), cudaErrorStreamCaptureUnjoined);
}
END_TEST

START_TEST(forbidden_calls)
{
    void *p;
    int x = 0;
    cudaStream_t s;
    ck_assert_int_eq(cudaStreamSynchronize(s = begin()), cudaErrorStreamCaptureUnsupported);
    must_be_spoiled(s);
    ck_assert_int_eq(cudaStreamQuery(s = begin()), cudaErrorStreamCaptureUnsupported);
    must_be_spoiled(s);
    s = begin();
    ck_assert_int_eq(cudaMalloc(&p, 4), cudaErrorStreamCaptureUnsupported);
    must_be_spoiled(s);
    s = begin();
    ck_assert_int_eq(cudaDeviceSynchronize(), cudaErrorStreamCaptureUnsupported);
    must_be_spoiled(s);
    s = begin();
    ck_assert_int_eq(cudaMemcpy(&x, &x, 4, cudaMemcpyHostToHost), cudaErrorStreamCaptureUnsupported);
    must_be_spoiled(s);
    ck_assert_int_eq(cudaMallocAsync(&p, 4, s = begin()), cudaErrorStreamCaptureUnsupported);
    must_be_spoiled(s);
}
END_TEST

START_TEST(relaxed_mode_allows)
{
    cudaStream_t s = new_stream();
    cudaGraph_t graph;
    void *p;
    OK(cudaStreamBeginCapture(s, cudaStreamCaptureModeRelaxed));
    OK(cudaMalloc(&p, 4));
    OK(cudaStreamEndCapture(s, &graph));
}
END_TEST

START_TEST(events_across_the_border)
{
    cudaStream_t other = new_stream(), s;
    cudaEvent_t e = new_event();
    cudaGraph_t graph;
    OK(cudaEventRecord(e, other));
    ck_assert_int_eq(cudaStreamWaitEvent(s = begin(), e, 0), cudaErrorStreamCaptureIsolation);
    must_be_spoiled(s);
    s = begin();
    OK(cudaEventRecord(e, s));
    ck_assert_int_eq(cudaEventSynchronize(e), cudaErrorCapturedEvent);
    ck_assert_int_eq(cudaEventQuery(e), cudaErrorCapturedEvent);
    OK(cudaStreamEndCapture(s, &graph));
    ck_assert_int_eq(cudaStreamEndCapture(s, &graph), cudaErrorInvalidValue);
}
END_TEST

/* A question about an event spoils what another stream captures, unless the thread says that it knows. */
START_TEST(questions_in_capture)
{
    cudaStream_t other = new_stream(), s;
    cudaEvent_t e = new_event();
    cudaGraph_t graph;
    cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
    OK(cudaEventRecord(e, other));
    s = begin();
    ck_assert_int_eq(cudaEventSynchronize(e), cudaErrorStreamCaptureUnsupported);
    must_be_spoiled(s);
    s = begin();
    OK(cudaThreadExchangeStreamCaptureMode(&mode));
    ck_assert_int_eq(mode, cudaStreamCaptureModeGlobal);
    OK(cudaEventSynchronize(e));
    OK(cudaThreadExchangeStreamCaptureMode(&mode));
    ck_assert_int_eq(mode, cudaStreamCaptureModeRelaxed);
    OK(cudaStreamEndCapture(s, &graph));
}
END_TEST

START_TEST(legacy_stream_in_capture)
{
    cudaStream_t s = new_stream(cudaStreamDefault);
    int *x = device_array<int>(1);
    cudaStreamCaptureStatus status;
    cudaGraph_t graph;
    OK(cudaStreamBeginCapture(s, cudaStreamCaptureModeRelaxed));
    ck_assert_int_eq(cudaStreamIsCapturing(nullptr, &status), cudaErrorStreamCaptureImplicit);
    OK(cudaStreamEndCapture(s, &graph)); /* a question spoils nothing */
    OK(cudaStreamIsCapturing(nullptr, &status));
    OK(cudaStreamBeginCapture(s, cudaStreamCaptureModeRelaxed));
    ck_assert_int_eq(launch_on(nullptr, set, 1, 1, x, 1), cudaErrorStreamCaptureImplicit);
    must_be_spoiled(s);
    ck_assert_int_eq(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeGlobal), cudaErrorStreamCaptureUnsupported);
}
END_TEST

Suite *graphs(void)
{
    Suite *s = suite_create("graphs");
    TCase *tc = tcase_create("graphs");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, replays);
    tcase_add_test(tc, forks_and_joins);
    tcase_add_test(tc, unjoined);
    tcase_add_test(tc, forbidden_calls);
    tcase_add_test(tc, relaxed_mode_allows);
    tcase_add_test(tc, events_across_the_border);
    tcase_add_test(tc, questions_in_capture);
    tcase_add_test(tc, legacy_stream_in_capture);
    suite_add_tcase(s, tc);
    return s;
}
