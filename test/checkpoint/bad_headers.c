/* Headers that must be refused, each from memory and from a file: RELORA_E_FORMAT, a sentence that names
 * the place, no reader, nothing leaked, nothing left mapped. */
#include <jansson.h>
#include <unistd.h>
#include "checkpoint/checkpoint.h"

#define T(fields) "{\"a\":{" fields "}}"
#define GOOD "\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]"
#define A(shape, begin, end) \
    "\"a\":{\"dtype\":\"F32\",\"shape\":[" shape "],\"data_offsets\":[" begin "," end "]}"
#define B(shape, begin, end) \
    "\"b\":{\"dtype\":\"F32\",\"shape\":[" shape "],\"data_offsets\":[" begin "," end "]}"

static const struct bad {
    const char *header;
    size_t data;
    const char *words[3]; /* which the sentence must have */
} bad[] = {
    /* not JSON, or not ours */
    {"", 0, {"begin", "{"}},
    {"{", 0, {"header"}},
    {"{}{}", 0, {"header"}},
    {"{} x", 0, {"header"}},
    {"[]", 0, {"begin", "{"}},
    {"null", 0, {"begin", "{"}},
    {" {}", 0, {"begin", "{"}},
    {"\t{}", 0, {"begin", "{"}},
    {"\n{}", 0, {"begin", "{"}},
    {"\xef\xbb\xbf{}", 0, {"begin", "{"}},
    {"{\"a\":}", 0, {"header"}},
    {"{'a':1}", 0, {"header"}},
    {"{\"a\":"
     "{" GOOD ",}}",
     8,
     {"header"}},
    {"{\"\xff\":{" GOOD "}}", 8, {"header", "byte"}},
    {"{\"\xc0\xaf\":{" GOOD "}}", 8, {"header"}},
    {"{\"\xed\xa0\x80\":{" GOOD "}}", 8, {"header"}},
    {"{\"\\ud800\":{" GOOD "}}", 8, {"header"}},
    {"{\"a\\u0000b\":{" GOOD "}}", 8, {"header"}},
    {"{\"__metadata__\":{\"k\":\"\\u0000\"}}", 0, {"header"}},
    /* the same name twice, also when spelt in another way */
    {"{" A("2", "0", "8") "," A("2", "8", "16") "}", 16, {"header", "\"a\""}},
    {"{" A("2", "0", "8") ",\"\\u0061\":{" GOOD "}}", 8, {"header", "duplicate"}},
    {"{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", 0, {"header"}},
    {T("\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]"), 8, {"header"}},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, {"header"}},
    /* metadata */
    {"{\"__metadata__\":[]}", 0, {"__metadata__"}},
    {"{\"__metadata__\":\"k\"}", 0, {"__metadata__"}},
    {"{\"__metadata__\":{\"key\":1}}", 0, {"__metadata__", "key"}},
    {"{\"__metadata__\":{\"good\":\"1\",\"key\":null}}", 0, {"__metadata__", "key"}},
    {"{\"__metadata__\":{\"key\":{\"a\":\"b\"}}}", 0, {"__metadata__", "key"}},
    {"{\"__metadata__\":{\"key\":[\"a\"]}}", 0, {"__metadata__", "key"}},
    {"{\"__metadata__\":{\"relora.xxh3\":\"12\"},\"a\":{" GOOD "}}", 8, {"relora.xxh3", "16"}},
    {"{\"__metadata__\":{\"relora.xxh3\":\"012345678abcdefg\"},\"a\":{" GOOD "}}", 8, {"relora.xxh3"}},
    /* fields of a tensor */
    {"{\"a\":1}", 0, {"\"a\""}},
    {"{\"a\":[1,2,3]}", 0, {"\"a\""}},
    {"{\"a\":null}", 0, {"\"a\""}},
    {"{\"a\":{}}", 0, {"\"a\""}},
    {T("\"dtype\":\"F32\",\"shape\":[2]"), 8, {"\"a\"", "data_offsets"}},
    {T("\"dtype\":\"F32\",\"data_offsets\":[0,8]"), 8, {"\"a\"", "shape"}},
    {T("\"shape\":[2],\"data_offsets\":[0,8]"), 8, {"\"a\"", "dtype"}},
    {T(GOOD ",\"more\":1"), 8, {"\"a\""}},
    {T("\"dtype\":\"F32\",\"Shape\":[2],\"data_offsets\":[0,8]"), 8, {"\"a\"", "shape"}},
    {T("\"dtyp\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]"), 8, {"\"a\"", "dtype"}},
    {T("\"dtype\":\"F32\",\"shape\":[2],\"data_offset\":[0,8]"), 8, {"\"a\"", "data_offsets"}},
    /* dtype */
    {T("\"dtype\":\"F31\",\"shape\":[2],\"data_offsets\":[0,8]"), 8, {"\"a\"", "dtype"}},
    {T("\"dtype\":\"f32\",\"shape\":[2],\"data_offsets\":[0,8]"), 8, {"\"a\"", "dtype"}},
    {T("\"dtype\":\"\",\"shape\":[2],\"data_offsets\":[0,8]"), 8, {"\"a\"", "dtype"}},
    {T("\"dtype\":32,\"shape\":[2],\"data_offsets\":[0,8]"), 8, {"\"a\"", "dtype"}},
    {T("\"dtype\":[\"F32\"],\"shape\":[2],\"data_offsets\":[0,8]"), 8, {"\"a\"", "dtype"}},
    /* shape */
    {T("\"dtype\":\"F32\",\"shape\":2,\"data_offsets\":[0,8]"), 8, {"\"a\"", "shape"}},
    {T("\"dtype\":\"F32\",\"shape\":{\"0\":2},\"data_offsets\":[0,8]"), 8, {"\"a\"", "shape"}},
    {T("\"dtype\":\"F32\",\"shape\":[1,-2],\"data_offsets\":[0,8]"), 8, {"\"a\"", "shape[1]"}},
    {T("\"dtype\":\"F32\",\"shape\":[-1,-2],\"data_offsets\":[0,8]"), 8, {"\"a\"", "shape[0]"}},
    {T("\"dtype\":\"F32\",\"shape\":[2.0],\"data_offsets\":[0,8]"), 8, {"\"a\"", "shape[0]"}},
    {T("\"dtype\":\"F32\",\"shape\":[2e0],\"data_offsets\":[0,8]"), 8, {"\"a\"", "shape[0]"}},
    {T("\"dtype\":\"F32\",\"shape\":[\"2\"],\"data_offsets\":[0,8]"), 8, {"\"a\"", "shape[0]"}},
    {T("\"dtype\":\"F32\",\"shape\":[null],\"data_offsets\":[0,8]"), 8, {"\"a\"", "shape[0]"}},
    {T("\"dtype\":\"F32\",\"shape\":[true,2],\"data_offsets\":[0,8]"), 8, {"\"a\"", "shape[0]"}},
    {T("\"dtype\":\"F32\",\"shape\":[[2]],\"data_offsets\":[0,8]"), 8, {"\"a\"", "shape[0]"}},
    {T("\"dtype\":\"F32\",\"shape\":[9223372036854775808],\"data_offsets\":[0,8]"), 8, {"header"}},
    {T("\"dtype\":\"F32\",\"shape\":[18446744073709551618],\"data_offsets\":[0,8]"), 8, {"header"}},
    /* shapes whose size wraps round 64 bits to the bytes that are there: 8, 8 and 0 */
    {T("\"dtype\":\"F32\",\"shape\":[4611686018427387906],\"data_offsets\":[0,8]"), 8, {"\"a\"", "shape"}},
    {T("\"dtype\":\"U8\",\"shape\":[2305843009213693953,8],\"data_offsets\":[0,8]"), 8, {"\"a\"", "shape"}},
    {T("\"dtype\":\"U8\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]"), 0, {"\"a\"", "shape"}},
    {T("\"dtype\":\"U8\",\"shape\":[9223372036854775807],\"data_offsets\":[0,9223372036854775807]"),
     8,
     {"\"a\""}},
    /* types of less than a byte, and no whole bytes */
    {T("\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,2]"), 2, {"\"a\"", "bytes"}},
    {T("\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,1]"), 1, {"\"a\"", "bytes"}},
    {T("\"dtype\":\"F6_E2M3\",\"shape\":[3],\"data_offsets\":[0,2]"), 2, {"\"a\"", "bytes"}},
    /* ranges */
    {T("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]"), 8, {"\"a\"", "data_offsets"}},
    {T("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,8]"), 8, {"\"a\"", "data_offsets"}},
    {T("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":{\"0\":0,\"1\":8}"), 8, {"\"a\"", "data_offsets"}},
    {T("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0.0,8]"), 8, {"\"a\"", "data_offsets"}},
    {T("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,\"8\"]"), 8, {"\"a\"", "data_offsets"}},
    {T("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]"), 8, {"\"a\"", "data_offsets"}},
    {T("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]"), 8, {"\"a\"", "8", "0"}},
    {T("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]"), 8, {"\"a\"", "4", "8"}},
    {T("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,12]"), 12, {"\"a\"", "12", "8"}},
    {T("\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,8]"), 8, {"\"a\"", "8"}},
    {T("\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,8]"), 8, {"\"a\"", "4"}},
    {T("\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[0,8]"), 8, {"\"a\"", "16"}},
    /* where the ranges lie */
    {T("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]"), 12, {"\"a\"", "4", "gap"}},
    {"{" A("2", "0", "8") "," B("2", "12", "20") "}", 20, {"\"b\"", "12", "gap"}},
    {"{" A("2", "0", "8") "," B("2", "4", "12") "}", 12, {"\"b\"", "4", "overlap"}},
    {"{" A("2", "0", "8") "," B("2", "0", "8") "}", 8, {"overlap"}},
    {"{" A("2", "0", "8") "," B("0", "4", "4") "}", 8, {"\"b\"", "overlap"}},
    {"{" A("2", "0", "8") "," B("0", "9", "9") "}", 9, {"\"b\"", "gap"}},
    {T(GOOD), 9, {"8", "9"}}, /* a byte behind */
    {T(GOOD), 7, {"8", "7"}}, /* a byte short */
    {T(GOOD), 0, {"8", "0"}},
    {"{}", 1, {"0", "1"}},
};
enum { BAD = sizeof bad / sizeof *bad };

static void refuse_memory(struct raw file, const char *const words[3])
{
    relora_reader *r = POISON;
    FAILS(RELORA_E_FORMAT, relora_reader_open_memory(&r, env.ctx, file.bytes, file.size),
          words[0] ? words[0] : "", words[1] ? words[1] : "", words[2] ? words[2] : "");
    ck_assert_ptr_null(r);
}

static void refuse_file(struct raw file, const char *const words[3])
{
    relora_reader *r = POISON;
    const char *path = at("bad.safetensors");
    spit(path, file.bytes, file.size);
    int descriptors = open_files();
    FAILS(RELORA_E_FORMAT, relora_reader_open(&r, env.ctx, path), "bad.safetensors", words[0] ? words[0] : "",
          words[1] ? words[1] : "", words[2] ? words[2] : "");
    ck_assert_ptr_null(r);
    ck_assert_int_eq(open_files(), descriptors);
    ck_assert_int_eq(mappings(), 0);
}

START_TEST(test_header)
{
    const struct bad *b = &bad[_i];
    struct raw file = raw_file(b->header, b->data);
    refuse_memory(file, b->words);
    refuse_file(file, b->words);
}
END_TEST

/* The table could be refused for a reason of its own: its good parts are accepted. */
START_TEST(test_the_good_ones)
{
    const int64_t two = 2;
    const char *const good[] = {T(GOOD),
                                "{" A("2", "0", "8") "," B("0", "8", "8") "}",
                                "{" B("0", "0", "0") "," A("2", "0", "8") "}",
                                "{" A("2", "0", "8") "," B("0", "0", "0") "}", /* empty, at its begin */
                                "{\"__metadata__\":{}," A("2", "0", "8") "}",
                                "{\"__metadata__\":{\"k\":\"v\"}," A("2", "0", "8") "}",
                                "{ \"a\" : { \"shape\":[ 2 ],\n\t"
                                "\"data_offsets\":[0 , 8],\"dtype\":\"F32\"} }",
                                T(GOOD) " ",
                                T(GOOD) "        ",
                                T(GOOD) "\n"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        has_tensor(open_raw(raw_file(good[i], 8)), "a", "F32", 1, &two, pattern(8, 0), 8);
    ck_assert_int_eq(relora_reader_count(open_raw(raw_file("{}", 0))), 0);
}
END_TEST

/* In the file the second tensor may stand first. */
START_TEST(test_any_order)
{
    relora_reader *r = open_raw(raw_file("{" B("1", "8", "12") "," A("2", "0", "8") "}", 12));
    const int64_t one = 1, two = 2;
    ck_assert_str_eq(relora_reader_name(r, 0), "a");
    ck_assert_str_eq(relora_reader_name(r, 1), "b");
    has_tensor(r, "a", "F32", 1, &two, pattern(12, 0), 8);
    has_tensor(r, "b", "F32", 1, &one, pattern(12, 0) + 8, 4);
}
END_TEST

/* ---- the length before the header ---- */

static const struct length {
    uint64_t says;
    const char *words[3];
} lengths[] = {
    {0, {"{"}},
    {1, {"header"}},
    {100000000, {"100000000", "past the end"}},
    {100000001, {"100000001", "exceeds"}},
    {1ull << 32, {"4294967296", "exceeds"}},
    {1ull << 63, {"9223372036854775808", "exceeds"}},
    {UINT64_MAX, {"18446744073709551615"}},
    {UINT64_MAX - 7, {"18446744073709551608"}}, /* 8 more is 0 */
};
enum { LENGTHS = sizeof lengths / sizeof *lengths };

START_TEST(test_length)
{
    struct raw file = raw_file(T(GOOD), 8);
    for (int i = 0; i < 8; i++) file.bytes[i] = (unsigned char)(lengths[_i].says >> (8 * i));
    refuse_memory(file, lengths[_i].words);
    refuse_file(file, lengths[_i].words);
}
END_TEST

/* A header of 100 MB that is really there is read (and is no JSON); one of a byte more is not looked at. */
START_TEST(test_largest_length)
{
    relora_reader *r = POISON;
    for (uint64_t length = 100000000; length <= 100000001; length++) {
        unsigned char start[10] = {0, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
        for (int i = 0; i < 8; i++) start[i] = (unsigned char)(length >> (8 * i));
        spit(at("sparse"), start, sizeof start);
        ck_assert_int_eq(truncate(at("sparse"), (off_t)length + 8), 0);
        FAILS(RELORA_E_FORMAT, relora_reader_open(&r, env.ctx, at("sparse")),
              length > 100000000 ? "exceeds" : "header, byte");
        ck_assert_ptr_null(r);
    }
}
END_TEST

/* One more than there is, and one less, which cuts the last bracket off. */
START_TEST(test_length_by_one)
{
    struct raw file = raw_file(T(GOOD), 0);
    const char *const past[3] = {"past the end"}, *const cut[3] = {"header"};
    file.bytes[0]++;
    refuse_memory(file, past);
    file.bytes[0] -= 2;
    refuse_memory(file, cut);
}
END_TEST

START_TEST(test_fewer_than_eight_bytes)
{
    const char *const words[3] = {"8 of a header length"};
    struct raw file = raw_copy("\2\0\0\0\0\0\0{}", (size_t)_i);
    refuse_memory(file, words);
    refuse_file(file, words);
}
END_TEST

/* Brackets 200000 deep must not be followed by recursion. */
START_TEST(test_depth)
{
    enum { DEEP = 200000 };
    const char *const words[3] = {"header"};
    char *text = scratch(DEEP + 16);
    memcpy(text, "{\"a\":", 5);
    memset(text + 5, '[', DEEP);
    refuse_memory(raw_file(text, 0), words);
    memset(text, 0, DEEP + 16);
    for (int i = 0; i < DEEP / 5; i++) memcpy(text + 5 * i, "{\"a\":", 5);
    refuse_memory(raw_file(text, 0), words);
}
END_TEST

/* A sentence is one line whatever the file calls its tensors (FAILS looks for line breaks). */
START_TEST(test_names_with_line_breaks)
{
    const char *const words[3] = {"dtype"};
    refuse_memory(raw_file("{\"x\\ny\":{\"dtype\":\"?\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8), words);
    const char *const key[3] = {"__metadata__"};
    refuse_memory(raw_file("{\"__metadata__\":{\"x\\ny\":1}}", 0), key);
}
END_TEST

/* A name longer than a sentence may be: cut off, but not in the middle of a character (bindings decode
 * the text, and jansson is asked here whether it is UTF-8). */
START_TEST(test_long_name)
{
    enum { LONG = 100000 };
    const char *const words[3] = {"日日日"};
    for (int shift = 0; shift < 4; shift++) {
        char *text = scratch(LONG + 100);
        strcpy(text, "{\"xxx");
        size_t used = 2 + (size_t)shift;
        while (used < LONG) {
            memcpy(text + used, "日", 3);
            used += 3;
        }
        strcpy(text + used, "\":{\"dtype\":\"?\",\"shape\":[2],\"data_offsets\":[0,8]}}");
        refuse_memory(raw_file(text, 8), words);
        json_t *utf8 = json_string(env.last);
        ck_assert_ptr_nonnull(utf8);
        json_decref(utf8);
    }
}
END_TEST

Suite *bad_headers(void)
{
    Suite *s = suite_create("bad headers");
    TCase *tc = env_case(s, "headers", 20);
    tcase_add_loop_test(tc, test_header, 0, BAD);
    tcase_add_test(tc, test_the_good_ones);
    tcase_add_test(tc, test_any_order);
    tcase_add_loop_test(tc, test_length, 0, LENGTHS);
    tcase_add_test(tc, test_largest_length);
    tcase_add_test(tc, test_length_by_one);
    tcase_add_loop_test(tc, test_fewer_than_eight_bytes, 0, 8);
    tcase_add_test(tc, test_depth);
    tcase_add_test(tc, test_names_with_line_breaks);
    tcase_add_test(tc, test_long_name);
    return s;
}
