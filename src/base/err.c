#include "base/err.h"

const struct fault fault_out_of_memory = {
    "out_of_memory", "the process could not get memory", NULL, 503};
const struct fault fault_too_large = {
    "too_large", "a bounded buffer met its maximum", NULL, 413};
