// The component: what Hydrant calls, around keep.h.
//
// Always true: each record has exactly one outcome, in order. What goes on moves to its outcome, all else is freed.

#include <stdlib.h>

#include "bindings/transform.h"
#include "keep.h"

// Called once, with the step's `config` as JSON. For a wrong one: transform_string_dup(error, "what is wrong"), false.
bool exports_transform_init(transform_string_t *config, transform_string_t *error) {
    (void)error;
    transform_string_free(config);
    return true;
}

// Called with each batch.
void exports_transform_transform(transform_list_input_t *records, transform_list_outcome_t *outcomes) {
    outcomes->len = records->len;
    outcomes->ptr = calloc(records->len, sizeof *outcomes->ptr);
    if (outcomes->ptr == NULL && records->len > 0)
        abort(); // Hydrant tells the trap from lack of memory and tries again.
    for (size_t i = 0; i < records->len; i++) {
        transform_input_t *record = &records->ptr[i];
        transform_outcome_t *outcome = &outcomes->ptr[i];
        if (keep(record->data.ptr, record->data.len)) {
            outcome->tag = HYDRANT_TRANSFORM_TYPES_OUTCOME_OK;
            outcome->val.ok.data = record->data;
        } else {
            outcome->tag = HYDRANT_TRANSFORM_TYPES_OUTCOME_DROPPED;
            transform_list_u8_free(&record->data);
        }
        hydrant_transform_types_source_free(&record->source);
    }
    free(records->ptr);
}
