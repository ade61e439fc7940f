#include <stdio.h>
#include <string.h>

#include "keep.h"

static int failed;

static void check(const char *record, bool expected) {
    if (keep((const uint8_t *)record, strlen(record)) != expected) {
        fprintf(stderr, "\"%s\" should be %s\n", record, expected ? "kept" : "dropped");
        failed = 1;
    }
}

int main(void) {
    check("a record", true);
    check("  x", true);
    check("", false);
    check(" \t\r", false);
    if (!failed)
        puts("all tests passed");
    return failed;
}
