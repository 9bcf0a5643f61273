/* What verification says of a log, and what happens without a disk. */
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "helpers.h"

/* Two boots, each with a control writer and a worker whose files have six and four records. */
static void make_history(const struct folder *f)
{
    for (int boot = 0; boot < 2; boot++) {
        struct audit_log *log = open_log(f, 1500);
        struct audit_writer *control = open_writer(log, 0), *w = open_writer(log, 1);
        assert_true(audit_start(control, &(struct audit_start){VIEW("1"), 1, 1}));
        assert_false(failed(audit_flush(control)));
        assert_false(failed(audit_anchor_write(log)));
        for (int i = 0; i < 8; i++) {
            append_outcome(w, "request");
            /* The first file is closed after its sixth record. */
            if (i == 4 || i == 6 || i == 7)
                assert_false(failed(audit_flush(w)));
            assert_false(failed(audit_anchor_write(log)));
        }
        audit_writer_close(w);
        audit_writer_close(control);
        audit_log_close(log);
    }
}

enum { RECORDS_OF_BOOT = 2 + 6 + 4 };

enum mutation {
    MODIFY_BYTE,
    MODIFY_CHAIN,
    REMOVE_LINE,
    REPEAT_LINE,
    SWAP_LINES,
    CUT_LAST_LINE,
    CUT_HALF_LINE,
    INSERT_GARBAGE,
    REMOVE_FILE,
    EMPTY_FILE,
    ADD_BLANK_LINE,
};

static size_t mutate(enum mutation how, int n, char *text, size_t len)
{
    char *line = line_at(text, n), *next = strchr(line, '\n') + 1;
    char *end = text + len;

    switch (how) {
    case MODIFY_BYTE:
        *strstr(line, "\"worker\"") = ' ';
        return len;
    case MODIFY_CHAIN:
        next[-4] = next[-4] == 'a' ? 'b' : 'a';
        return len;
    case REMOVE_LINE:
        memmove(line, next, (size_t)(end - next));
        return len - (size_t)(next - line);
    case REPEAT_LINE:
        memmove(next + (next - line), next, (size_t)(end - next));
        memcpy(next, line, (size_t)(next - line));
        return len + (size_t)(next - line);
    case SWAP_LINES: {
        char *after = strchr(next, '\n') + 1;
        char *copy = strndup(line, (size_t)(next - line));
        size_t first = (size_t)(next - line), second = (size_t)(after - next);
        memmove(line, next, second);
        memcpy(line + second, copy, first);
        free(copy);
        return len;
    }
    case CUT_LAST_LINE:
        return (size_t)(line - text);
    case CUT_HALF_LINE:
        return (size_t)(line - text) + 30;
    case INSERT_GARBAGE:
        memmove(line + 3, line, (size_t)(end - line));
        memcpy(line, "{}\n", 3);
        return len + 3;
    case ADD_BLANK_LINE:
        memmove(line + 1, line, (size_t)(end - line));
        *line = '\n';
        return len + 1;
    case EMPTY_FILE:
        return 0;
    case REMOVE_FILE:
        break;
    }
    return len;
}

static void apply(const struct folder *f, const char *file, enum mutation how, int line)
{
    char path[512];
    size_t len;

    assert_true(folder_find(f, file, path));
    if (how == REMOVE_FILE) {
        unlink(path);
        return;
    }
    char *text = file_read(path, &len);
    text = realloc(text, 2 * len + 1);
    len = mutate(how, line, text, len);
    file_write(path, text, len);
    free(text);
}

static void every_tampering_is_caught_and_named(void **state)
{
    static const struct {
        const char *file; /* of the last boot */
        enum mutation how;
        int line;
        enum audit_problem problem;
        const char *named; /* the file of the first finding */
        uint64_t at_line;
        uint64_t at_seq;
    } rows[] = {
        {"-w1-1.jsonl", MODIFY_BYTE, 3, AUDIT_BAD_RECORD, "-w1-1.jsonl", 3, 3},
        {"-w1-1.jsonl", MODIFY_CHAIN, 3, AUDIT_BAD_RECORD, "-w1-1.jsonl", 3, 3},
        {"-w1-1.jsonl", MODIFY_CHAIN, 1, AUDIT_BAD_RECORD, "-w1-1.jsonl", 1, 1},
        {"-w1-1.jsonl", REMOVE_LINE, 3, AUDIT_BAD_SEQUENCE, "-w1-1.jsonl", 3, 3},
        {"-w1-1.jsonl", REMOVE_LINE, 1, AUDIT_BAD_SEQUENCE, "-w1-1.jsonl", 1, 1},
        {"-w1-1.jsonl", REPEAT_LINE, 2, AUDIT_BAD_SEQUENCE, "-w1-1.jsonl", 3, 3},
        {"-w1-1.jsonl", SWAP_LINES, 3, AUDIT_BAD_SEQUENCE, "-w1-1.jsonl", 3, 3},
        {"-w1-1.jsonl", CUT_LAST_LINE, 6, AUDIT_BAD_SEQUENCE, "-w1-2.jsonl", 1, 6},
        {"-w1-1.jsonl", CUT_HALF_LINE, 6, AUDIT_TORN_LINE, "-w1-1.jsonl", 6, 6},
        {"-w1-1.jsonl", INSERT_GARBAGE, 3, AUDIT_BAD_RECORD, "-w1-1.jsonl", 3, 3},
        {"-w1-1.jsonl", ADD_BLANK_LINE, 3, AUDIT_BAD_RECORD, "-w1-1.jsonl", 3, 3},
        {"-w1-1.jsonl", REMOVE_FILE, 0, AUDIT_MISSING_FILE, "-w1-1.jsonl", 0, 1},
        {"-w1-1.jsonl", EMPTY_FILE, 1, AUDIT_BAD_SEQUENCE, "-w1-2.jsonl", 1, 1},
        {"-w1-2.jsonl", CUT_LAST_LINE, 3, AUDIT_MISSING_TAIL, "-w1-2.jsonl", 2, 9},
        {"-w1-2.jsonl", CUT_LAST_LINE, 4, AUDIT_MISSING_TAIL, "-w1-2.jsonl", 3, 10},
        {"-w1-2.jsonl", CUT_HALF_LINE, 4, AUDIT_TORN_LINE, "-w1-2.jsonl", 4, 10},
        {"-w1-2.jsonl", REMOVE_FILE, 0, AUDIT_MISSING_FILE, "-w1-2.jsonl", 0, 7},
        {"-w1-2.jsonl", EMPTY_FILE, 1, AUDIT_MISSING_TAIL, "-w1-2.jsonl", 0, 7},
        {"-w0-1.jsonl", CUT_LAST_LINE, 2, AUDIT_MISSING_TAIL, "-w0-1.jsonl", 1, 2},
        {"-w0-1.jsonl", REMOVE_FILE, 0, AUDIT_MISSING_FILE, "-w0-1.jsonl", 0, 1},
        {"-anchors.jsonl", MODIFY_CHAIN, 2, AUDIT_BAD_ANCHOR, "-anchors.jsonl", 2, 0},
        {"-anchors.jsonl", REMOVE_LINE, 2, AUDIT_ANCHOR_CHAIN, "-anchors.jsonl", 2, 0},
        {"-anchors.jsonl", REMOVE_LINE, 1, AUDIT_ANCHOR_CHAIN, "-anchors.jsonl", 1, 0},
        {"-anchors.jsonl", SWAP_LINES, 2, AUDIT_ANCHOR_CHAIN, "-anchors.jsonl", 2, 0},
        {"-anchors.jsonl", INSERT_GARBAGE, 2, AUDIT_BAD_ANCHOR, "-anchors.jsonl", 2, 0},
        {"-anchors.jsonl", CUT_HALF_LINE, 3, AUDIT_TORN_LINE, "-anchors.jsonl", 3, 0},
        {"-anchors.jsonl", EMPTY_FILE, 1, AUDIT_MISSING_ANCHORS, "-anchors.jsonl", 0, 0},
        {"-anchors.jsonl", REMOVE_FILE, 0, AUDIT_MISSING_ANCHORS, "-anchors.jsonl", 0, 0},
        {"anchor.pub", REMOVE_FILE, 0, AUDIT_UNREADABLE, "anchor.pub", 0, 0},
    };
    struct folder f;
    struct seen s;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        folder_make(&f);
        make_history(&f);
        assert_whole(&f, 2 * RECORDS_OF_BOOT);
        apply(&f, rows[i].file, rows[i].how, rows[i].line);
        verify(&f, &s);
        if (s.count == 0 || s.first.problem != rows[i].problem ||
            !view_ends_with(view_str(s.file), view_str(rows[i].named)) ||
            s.first.line != rows[i].at_line || s.first.seq != rows[i].at_seq)
            fail_msg("row %zu: %d findings, %s %s:%llu seq %llu: %s", i, s.count,
                     s.count > 0 ? audit_problem_name(s.first.problem) : "-", s.file,
                     (unsigned long long)s.first.line, (unsigned long long)s.first.seq, s.text);
        folder_remove(&f);
    }
}

/* Whoever recomputes the whole chain, but has no key, is caught by the anchor. */
static void a_rewritten_file_does_not_match_its_anchor(void **state)
{
    struct folder f, other;
    char path[512], copy[512];
    struct seen s;
    size_t len;

    (void)state;
    folder_make(&f);
    folder_make(&other);
    make_history(&f);
    audit_log_close(open_log(&other, 0));
    assert_true(folder_find(&f, "-w1-2.jsonl", path));
    char *text = file_read(path, &len);
    char *last = line_at(text, 4), *comma = strstr(last, ",\"chain\""), *before = line_at(text, 3);
    before = strstr(before, "\"chain\":\"") + 9;
    struct buf line;
    memcpy(strstr(last, "\"rows\":1"), "\"rows\":9", 8);
    buf_init(&line, 1 << 16);
    buf_add(&line, before, 64);
    buf_add(&line, last, (size_t)(comma - last));
    char hex[65];
    audit_statement_hash(buf_view(&line), hex);
    memcpy(comma + 10, hex, 64);
    file_write(path, text, len);
    verify(&f, &s);
    assert_int_equal(s.count, 1);
    assert_int_equal(s.first.problem, AUDIT_HEAD_MISMATCH);
    assert_int_equal(s.first.seq, 10);
    /* A key of one's own does not help either. */
    assert_true(folder_find(&other, "anchor.pub", copy));
    struct audit_verify_options o = {
        .directory = f.path, .public_key = copy, .found = remember, .arg = &s};
    struct audit_verify_counts counts;
    s = (struct seen){0};
    assert_false(failed(audit_verify(&o, &counts)));
    assert_int_equal(s.first.problem, AUDIT_BAD_ANCHOR);
    assert_int_equal(s.first.line, 1);
    buf_clear(&line);
    free(text);
    folder_remove(&f);
    folder_remove(&other);
}

static void an_earlier_boot_that_is_gone_is_missed(void **state)
{
    struct folder f;
    struct seen s;
    char path[512], name[512];

    (void)state;
    folder_make(&f);
    make_history(&f);
    /* All files of the older boot. */
    assert_true(folder_find(&f, "-anchors.jsonl", name));
    const char *newest = strrchr(name, '/') + 1;
    struct audit_listing list;
    assert_false(failed(audit_list(f.path, &list)));
    assert_int_equal(list.count, 8);
    for (size_t i = 0; i < list.count; i++) {
        if (strncmp(list.files[i].boot, newest, strlen(list.files[i].boot)) == 0)
            continue;
        if (list.files[i].anchors)
            snprintf(path, sizeof path, "%s/%s-anchors.jsonl", f.path, list.files[i].boot);
        else
            snprintf(path, sizeof path, "%s/%s-w%u-%u.jsonl", f.path, list.files[i].boot,
                     list.files[i].writer, list.files[i].number);
        assert_int_equal(unlink(path), 0);
    }
    verify(&f, &s);
    assert_int_equal(s.count, 1);
    assert_int_equal(s.first.problem, AUDIT_MISSING_ANCHORS);
    assert_true(strncmp(s.file, list.files[0].boot, 24) == 0);
    audit_listing_clear(&list);
    folder_remove(&f);
}

static void a_clock_set_back_breaks_no_chain_of_boots(void **state)
{
    struct folder f;
    struct seen s;
    char boots[3][32];
    char path[512];

    (void)state;
    folder_make(&f);
    for (int i = 0; i < 3; i++) {
        struct audit_log *log = open_log(&f, 0);
        snprintf(boots[i], sizeof boots[i], "%.*s", VIEW_ARG(audit_log_boot(log)));
        audit_log_close(log);
        fake_time_us -= INT64_C(86400) * 1000000;
    }
    fake_time_us += INT64_C(3 * 86400) * 1000000;
    assert_true(strcmp(boots[0], boots[1]) < 0);
    assert_true(strcmp(boots[1], boots[2]) < 0);
    assert_whole(&f, 0);
    /* Each vouches for the one that really was before it. */
    snprintf(path, sizeof path, "%s/%s-anchors.jsonl", f.path, boots[1]);
    assert_int_equal(unlink(path), 0);
    verify(&f, &s);
    assert_int_equal(s.count, 1);
    assert_int_equal(s.first.problem, AUDIT_MISSING_ANCHORS);
    assert_true(strncmp(s.file, boots[1], strlen(boots[1])) == 0);
    folder_remove(&f);
}

/* A child that flushes, and is killed between two anchors and in the middle of a record. */
static void records_after_the_last_anchor_of_a_killed_run_are_no_fault(void **state)
{
    struct folder f;
    struct seen s;
    int status;

    (void)state;
    folder_make(&f);
    pid_t child = fork();
    if (child == 0) {
        struct audit_log *log = open_log(&f, 0);
        struct audit_writer *w = open_writer(log, 1);
        if (failed(audit_anchor_write(log)))
            _exit(1);
        for (int i = 0; i < 5; i++)
            append_outcome(w, "answered");
        if (failed(audit_flush(w)))
            _exit(1);
        append_outcome(w, "never flushed, never answered");
        kill(getpid(), SIGKILL);
    }
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status));
    struct audit_verify_counts n = verify(&f, &s);
    assert_int_equal(s.count, 0);
    assert_int_equal(n.records, 6);
    assert_int_equal(n.unanchored, 5);
    /* Half a record, as a power loss leaves it, stays where it is and is named; the next run has
     * files of its own. */
    char path[512];
    assert_true(folder_find(&f, "-w1-1.jsonl", path));
    FILE *file = fopen(path, "a");
    fputs("{\"time\":\"2026-0", file);
    fclose(file);
    fake_time_us += 5000000;
    struct audit_log *log = open_log(&f, 0);
    struct audit_writer *w = open_writer(log, 1);
    audit_writer_close(w);
    audit_log_close(log);
    n = verify(&f, &s);
    assert_int_equal(s.count, 1);
    assert_int_equal(s.first.problem, AUDIT_TORN_LINE);
    assert_int_equal(s.first.line, 7);
    assert_int_equal(n.boots, 2);
    folder_remove(&f);
}

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void without_room_calls_are_refused_and_nothing_is_lost(void **state)
{
    struct audit_intent intent = {.call = {VIEW("refused"), {NULL, 0}}};
    struct audit_counters counters;
    struct folder f;
    char path[512];
    size_t len;

    (void)state;
    folder_make(&f);
    struct audit_log *log = open_log(&f, 0);
    struct audit_writer *w = open_writer(log, 1);
    append_intent(w, "one");
    assert_false(failed(audit_flush(w)));
    assert_true(folder_find(&f, "-w1-1.jsonl", path));
    free(file_read(path, &len));

    limit_files(len + 100); /* part of the next write fits */
    append_intent(w, "two");
    append_outcome(w, "one");
    assert_true(is_fault(audit_flush(w), &audit_unavailable));
    assert_false(audit_writable(w));
    assert_false(audit_intent(w, &intent));
    append_outcome(w, "zero"); /* what has happened is still taken */
    size_t after;
    free(file_read(path, &after));
    assert_int_equal(after, len); /* cut back to whole records */
    fake_monotonic_ns += 1000000000;
    assert_true(is_fault(audit_flush(w), &audit_unavailable));
    audit_log_counters(log, &counters);
    assert_false(counters.writable);
    assert_int_equal(counters.failures, 2);
    assert_int_equal(counters.refused, 1);

    limit_files(RLIM_INFINITY);
    assert_true(is_fault(audit_flush(w), &audit_unavailable)); /* not before the pause is over */
    fake_monotonic_ns += 1000000000;
    assert_false(failed(audit_flush(w)));
    assert_true(audit_writable(w));
    assert_true(audit_intent(w, &intent));
    audit_writer_close(w);
    audit_log_close(log);
    assert_whole(&f, 1 + 1 + 3 + 1);
    folder_remove(&f);
}

static void a_full_buffer_refuses_intents_before_outcomes(void **state)
{
    static char values[60000];
    struct audit_intent intent = {.values = {values, sizeof values}};
    struct folder f;
    int taken = 0;

    (void)state;
    memset(values, '1', sizeof values);
    folder_make(&f);
    struct audit_log *log = open_log(&f, 0);
    struct audit_writer *w = open_writer(log, 1);
    while (audit_intent(w, &intent))
        taken++;
    assert_in_range(taken, 200, 220); /* three quarters of 16 MiB */
    append_outcome(w, "still");
    assert_false(failed(audit_flush(w)));
    assert_true(audit_intent(w, &intent));
    audit_writer_close(w);
    audit_log_close(log);
    assert_whole(&f, 1 + (uint64_t)taken + 2);
    folder_remove(&f);
}

struct worker {
    struct audit_log *log;
    unsigned number;
    pthread_t thread;
};

enum { THREADS = 8, CALLS = 400 };

static void *work(void *arg)
{
    struct worker *me = arg;
    struct audit_writer *w = open_writer(me->log, me->number);

    for (int i = 0; i < CALLS; i++) {
        append_intent(w, "threads");
        if (failed(audit_flush(w)))
            abort();
        append_outcome(w, "threads");
        if (i % 7 == 0 && failed(audit_flush(w)))
            abort();
    }
    audit_writer_close(w);
    return NULL;
}

/* With rotation and anchors at every moment. */
static void many_threads_write_whole_files(void **state)
{
    struct worker workers[THREADS];
    struct audit_verify_counts n;
    struct folder f;
    struct seen s = {0};

    (void)state;
    folder_make(&f);
    struct audit_log *log = open_log(&f, 20000);
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.log = log, .number = i + 1};
        pthread_create(&workers[i].thread, NULL, work, &workers[i]);
    }
    for (int i = 0; i < 200; i++)
        assert_false(failed(audit_anchor_write(log)));
    /* A log may be verified while it is written, and its files change: at each look. */
    for (int look = 0; look < 5 && s.count == 0; look++)
        n = verify(&f, &s);
    if (s.count > 0)
        fail_msg("%s:%llu: %s", s.file, (unsigned long long)s.first.line, s.text);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(workers[i].thread, NULL);
    audit_log_close(log);
    n = verify(&f, &s);
    assert_int_equal(s.count, 0);
    assert_int_equal(n.unanchored, 0);
    /* Every file begins with a record of its own. */
    assert_int_equal(n.records, 2 * THREADS * CALLS + n.files);
    assert_true(n.files > 2 * THREADS);
    folder_remove(&f);
}

static void a_folder_that_others_may_write_is_refused(void **state)
{
    struct audit_log *log;
    char detail[256];
    struct folder f;

    (void)state;
    folder_make(&f);
    struct audit_options o = {.directory = view_str(f.path), .node = VIEW("n")};
    assert_int_equal(chmod(f.path, 0777), 0);
    assert_true(is_fault(audit_log_open(&o, &log, detail), &audit_open_failed));
    assert_non_null(strstr(detail, "others"));
    assert_null(log);
    assert_int_equal(chmod(f.path, 0700), 0);
    /* A public key that is not the private one's. */
    char path[512];
    snprintf(path, sizeof path, "%s/anchor.pub", f.path);
    file_write(path, "x", 1);
    assert_true(is_fault(audit_log_open(&o, &log, detail), &audit_open_failed));
    assert_non_null(strstr(detail, "anchor.pub"));
    unlink(path);
    /* A key that others may read. */
    snprintf(path, sizeof path, "%s/anchor.key", f.path);
    assert_int_equal(chmod(path, 0644), 0);
    assert_true(is_fault(audit_log_open(&o, &log, detail), &audit_open_failed));
    assert_int_equal(chmod(path, 0600), 0);
    assert_false(failed(audit_log_open(&o, &log, detail)));
    struct audit_writer *w = open_writer(log, 1), *again;
    assert_true(is_fault(audit_writer_open(log, 1, &again), &audit_open_failed));
    audit_writer_close(w);
    audit_log_close(log);
    o.directory = VIEW("/nonexistent/folder");
    assert_true(is_fault(audit_log_open(&o, &log, detail), &audit_open_failed));
    assert_non_null(strstr(detail, "/nonexistent/folder"));
    folder_remove(&f);
}

static void an_idle_log_gets_no_anchors(void **state)
{
    struct audit_counters counters;
    struct folder f;

    (void)state;
    folder_make(&f);
    struct audit_log *log = open_log(&f, 0);
    struct audit_writer *w = open_writer(log, 1);
    for (int i = 0; i < 5; i++)
        assert_false(failed(audit_anchor_write(log)));
    audit_log_counters(log, &counters);
    assert_int_equal(counters.anchors, 2); /* the boot's first, and the file's first record */
    audit_writer_close(w);
    audit_log_close(log);
    folder_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tampering_is_caught_and_named),
        cmocka_unit_test(a_rewritten_file_does_not_match_its_anchor),
        cmocka_unit_test(an_earlier_boot_that_is_gone_is_missed),
        cmocka_unit_test(a_clock_set_back_breaks_no_chain_of_boots),
        cmocka_unit_test(records_after_the_last_anchor_of_a_killed_run_are_no_fault),
        cmocka_unit_test(without_room_calls_are_refused_and_nothing_is_lost),
        cmocka_unit_test(a_full_buffer_refuses_intents_before_outcomes),
        cmocka_unit_test(many_threads_write_whole_files),
        cmocka_unit_test(a_folder_that_others_may_write_is_refused),
        cmocka_unit_test(an_idle_log_gets_no_anchors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
