// Runs pass_through.c as a program of this machine. What is touched beyond its end or freed twice is found by the address
// sanitizer; the arena that gives all memory back at once is there in WebAssembly only, so the test frees in its place.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/transform.h"

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: " #condition " does not hold\n", __FILE__, __LINE__);                              \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

static uint8_t *copy(const char *text) {
    uint8_t *bytes = malloc(strlen(text) + 1);
    CHECK(bytes != NULL);
    return memcpy(bytes, text, strlen(text));
}

static transform_list_outcome_t transform(const char *const *texts, size_t count) {
    transform_list_input_t records = {calloc(count + 1, sizeof(transform_input_t)), count};
    for (size_t i = 0; i < count; i++) {
        records.ptr[i].data = (transform_list_u8_t){copy(texts[i]), strlen(texts[i])};
        records.ptr[i].source.val.file.path = (transform_string_t){copy("/a.log"), 6};
    }
    transform_list_outcome_t outcomes;
    exports_transform_transform(&records, &outcomes);
    for (size_t i = 0; i < count; i++)
        free(records.ptr[i].source.val.file.path.ptr);
    free(records.ptr);
    return outcomes;
}

int main(void) {
    transform_string_t config = {copy("null"), 4}, error;
    CHECK(exports_transform_init(&config, &error));
    free(config.ptr);

    const char *const texts[] = {"one", "", "{\"three\":3}"};
    transform_list_outcome_t outcomes = transform(texts, 3);
    CHECK(outcomes.len == 3);
    for (size_t i = 0; i < 3; i++) {
        transform_outcome_t *outcome = &outcomes.ptr[i];
        CHECK(outcome->tag == HYDRANT_TRANSFORM_TYPES_OUTCOME_OK);
        CHECK(outcome->val.ok.data.len == strlen(texts[i]));
        CHECK(memcmp(outcome->val.ok.data.ptr, texts[i], strlen(texts[i])) == 0);
        CHECK(outcome->val.ok.partition_keys.len == 0);
        free(outcome->val.ok.data.ptr);
    }
    free(outcomes.ptr);

    outcomes = transform(NULL, 0);
    CHECK(outcomes.len == 0);
    free(outcomes.ptr);
    puts("pass-through: all tests passed");
    return 0;
}
