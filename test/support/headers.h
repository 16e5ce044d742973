/* The public functions, as the headers declare them: for tests that must miss none. */
#ifndef TEST_SUPPORT_HEADERS_H
#define TEST_SUPPORT_HEADERS_H

/** Call `visit` with the name, the comment before it and the declaration of every exported function.
 *  Returns how many there are. */
int each_function(void (*visit)(const char *name, const char *comment, const char *declaration));

/** The text of a file below test/, until env_close(). */
char *test_source(const char *path);

#endif
