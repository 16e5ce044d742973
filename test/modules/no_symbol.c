/* A library, but no module. */
int relora_nothing(void);
__attribute__((visibility("default"))) int relora_nothing(void) { return 0; }
