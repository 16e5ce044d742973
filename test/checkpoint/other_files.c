/* What people have instead of a safetensors file: the sentence says what it looks like. */
#include <jansson.h>
#include "checkpoint/checkpoint.h"

#define BYTES(text) text, sizeof(text) - 1

static const struct other_file {
    const char *bytes;
    size_t size;
    const char *word;
} others[] = {
    {BYTES("version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 98765\n"), "Git LFS"},
    {BYTES("<!DOCTYPE html><html><body>Entry not found</body></html>"), "HTML"},
    {BYTES("<!doctype HTML>\n"), "HTML"},
    {BYTES("\n\n  <HTML lang=\"en\">"), "HTML"},
    {BYTES("\xef\xbb\xbf<html>"), "HTML"},
    {BYTES("<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>"), "XML"},
    {BYTES("{\"error\": \"Repository not found\"}"), "JSON"},
    {BYTES("[1, 2]      "), "JSON"},
    {BYTES("{\n  \"metadata\": {\"total_size\": 8},\n  \"weight_map\": {\"a\": \"b\"}}"), "index"},
    {BYTES("Entry not found"), "text that begins \"Entry not found\""},
    {BYTES("Invalid username or password."), "Invalid username"},
    {BYTES("text"), "text"},
    {BYTES("gr\xc3\xb6\xc3\x9f"
           "er als vierzig Zeichen, und darum hier abge\xc3\xa4ndert"),
     "vierzig"},
    {BYTES(" \n "), "white space"},
    {BYTES(""), "an empty file"},
    {BYTES("\0\0\0"), "zeros"},
    {BYTES("\0\0\0\0\0\0\0\0\0\0\0\0"), "zeros"},
    {BYTES("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"), "gzip"},
    {BYTES("BZh91AY&SY"), "bzip2"},
    {BYTES("\xfd"
           "7zXZ\x00\x00\x04"),
     "xz"},
    {BYTES("\x28\xb5\x2f\xfd\x24\x00\x01\x00\x00"), "zstd"},
    {BYTES("PK\3\4\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x10\0\0\0archive/data.pkl"), "PyTorch"},
    {BYTES("PK\3\4\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x05\0\0\0a.npy"), "npz"},
    {BYTES("PK\3\4\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x05\0\0\0a.txt"), "zip"},
    {BYTES("\x80\x02\x8a\x0al\xfc\x9c"
           "F\xf9 j\xa8P\x19."),
     "pickle"},
    {BYTES("\x80\x04\x95\x10\0\0\0\0\0\0\0}"), "pickle"},
    {BYTES("GGUF\3\0\0\0\0\0\0\0"), "GGUF"},
    {BYTES("\x93NUMPY\x01\x00v\x00{'descr': '<f4'"), "npy"},
    {BYTES("\x89HDF\r\n\x1a\n\0\0\0\0"), "HDF5"},
    {BYTES("\xff\xfeh\0t\0m\0l\0"), "UTF-16"},
};
enum { OTHERS = sizeof others / sizeof *others };

START_TEST(test_other_file)
{
    const struct other_file *o = &others[_i];
    relora_reader *r = POISON;
    struct raw file = raw_copy(o->bytes, o->size);
    FAILS(RELORA_E_FORMAT, relora_reader_open_memory(&r, env.ctx, file.bytes, file.size),
          "not a safetensors file", o->word);
    spit(at("model.safetensors"), o->bytes, o->size);
    FAILS(RELORA_E_FORMAT, relora_reader_open(&r, env.ctx, at("model.safetensors")),
          "model.safetensors is no", o->word);
    ck_assert_ptr_null(r);
    json_t *sentence = json_string(env.last); /* what it quotes is UTF-8, as far as it quotes */
    ck_assert_ptr_nonnull(sentence);
    json_decref(sentence);
}
END_TEST

START_TEST(test_tar)
{
    relora_reader *r = POISON;
    unsigned char *tar = scratch(1024);
    memcpy(tar, "model.safetensors", 17);
    memcpy(tar + 257, "ustar", 5);
    FAILS(RELORA_E_FORMAT, relora_reader_open_memory(&r, env.ctx, tar, 1024), "tar archive");
}
END_TEST

/* The real thing, not all of which has arrived. */
START_TEST(test_cut)
{
    struct raw file = small_file(0);
    relora_reader *r = POISON;
    FAILS(RELORA_E_FORMAT, relora_reader_open_memory(&r, env.ctx, file.bytes, file.size - 1), "cut short");
    FAILS(RELORA_E_FORMAT, relora_reader_open_memory(&r, env.ctx, file.bytes, 20), "cut short");
}
END_TEST

/* Bytes that look like nothing get the sentence about the header, and no guess. */
START_TEST(test_unknown)
{
    relora_reader *r = POISON;
    unsigned char bytes[40];
    for (int i = 0; i < 40; i++) bytes[i] = (unsigned char)(i * 37 + 5);
    FAILS(RELORA_E_FORMAT, relora_reader_open_memory(&r, env.ctx, bytes, sizeof bytes),
          "exceeds the 100000000");
    ck_assert_ptr_null(strstr(env.last, "looks like"));
}
END_TEST

START_TEST(test_folder)
{
    relora_reader *r = POISON;
    FAILS(RELORA_E_IO, relora_reader_open(&r, env.ctx, at("")), "a folder");
}
END_TEST

Suite *other_files(void)
{
    Suite *s = suite_create("files of another kind");
    TCase *tc = env_case(s, "files", 10);
    tcase_add_loop_test(tc, test_other_file, 0, OTHERS);
    tcase_add_test(tc, test_tar);
    tcase_add_test(tc, test_cut);
    tcase_add_test(tc, test_unknown);
    tcase_add_test(tc, test_folder);
    return s;
}
