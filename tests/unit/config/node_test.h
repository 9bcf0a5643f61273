/* A sallyport.conf that a test has loaded, and what was said of it. */
#ifndef SALLYPORT_TESTS_CONFIG_NODE_TEST_H
#define SALLYPORT_TESTS_CONFIG_NODE_TEST_H

#include "config_test.h"

struct loaded {
    struct test_config t;
    struct node_config node;
    err outcome;
    struct buf said;
};

/* Loads by l->t.host, which the test has made; the text as if it stood in sources->conf_file. */
static inline void load_node(struct loaded *l, struct node_config_sources sources)
{
    sources.host = &l->t.host.host;
    l->outcome = node_config_load(&l->t.arena, &sources, &l->node, &l->t.d);
    buf_init(&l->said, 1 << 16);
    test_describe(&l->t.d, &l->said);
}

static inline void clear(struct loaded *l)
{
    buf_clear(&l->said);
    test_config_clear(&l->t);
}

#endif
