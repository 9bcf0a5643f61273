/* credential_process: its command line, its answer, and its place in the chain. */
#include "runner_bed.h"

#include "aws/process.h"
#include "net/run.h"

/* ---- The command line: what Python's shlex.split gives ---- */

static void the_command_line_is_split_as_botocore_splits_it(void **state)
{
    static const struct {
        const char *command;
        const char *words; /* each with a '|' behind it; NULL: refused */
    } rows[] = {
        {"/bin/helper", "/bin/helper|"},
        {"  a\tb \n c ", "a|b|c|"},
        {"\"/Path/To/my helper\" one \"two words\"", "/Path/To/my helper|one|two words|"},
        {"a 'b \"c\" \\d'", "a|b \"c\" \\d|"},
        {"a \"b \\\" \\\\ \\d\"", "a|b \" \\ \\d|"},
        {"a\\ b \\\\ \\'", "a b|\\|'|"},
        {"a'b'\"c\"d", "abcd|"},
        {"a '' \"\"", "a|||"},
        {"a ~ * $HOME `id` #x ;y", "a|~|*|$HOME|`id`|#x|;y|"},
        {"a \"open", NULL},
        {"a 'open", NULL},
        {"a b\\", NULL},
        {"a \"b\\", NULL},
        {"", NULL},
        {" \t", NULL},
        {"''", NULL},
    };
    struct view words[PROCESS_WORDS_MAX];
    char text[200];
    size_t count;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct arena arena;
        arena_init(&arena, 256, 4096);
        err e = process_split(&arena, view_str(rows[i].command), words, &count);
        if (rows[i].words == NULL)
            assert_ptr_equal(e.fault, &process_bad_command);
        size_t n = 0;
        for (size_t w = 0; w < count; w++)
            n += (size_t)snprintf(text + n, sizeof text - n, "%.*s|", VIEW_ARG(words[w]));
        if (rows[i].words != NULL) {
            assert_false(failed(e));
            assert_string_equal(text, rows[i].words);
        }
        arena_clear(&arena);
    }
}

static void there_may_be_so_many_words_and_no_more(void **state)
{
    struct view words[PROCESS_WORDS_MAX];
    char text[2 * PROCESS_WORDS_MAX + 3];
    struct arena arena;
    size_t count;

    (void)state;
    arena_init(&arena, 256, 4096);
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = i % 2 == 0 ? 'w' : ' ';
    assert_false(
        failed(process_split(&arena, view_of(text, 2 * PROCESS_WORDS_MAX), words, &count)));
    assert_int_equal(count, PROCESS_WORDS_MAX);
    assert_ptr_equal(
        process_split(&arena, view_of(text, 2 * PROCESS_WORDS_MAX + 1), words, &count).fault,
        &process_bad_command);
    arena_clear(&arena);
}

/* ---- In the chain ---- */

#define PLAIN "{\"Version\":1,\"AccessKeyId\":\"AKIAPROCESS\",\"SecretAccessKey\":\"s\"}"

static void set_process(struct bed *b)
{
    bed_set_files(b);
    bed_file(b, "config", "[default]\ncredential_process = helper --for \"the shop\"\n");
}

static const char *answer(struct bed *b, const char *id, int64_t seconds)
{
    static char text[400];

    snprintf(text, sizeof text,
             "{\"Version\": 1, \"AccessKeyId\": \"%s\", \"SecretAccessKey\": \"s\", "
             "\"SessionToken\": \"t\", \"Expiration\": \"%s\"}\n",
             id, bed_time(b, seconds));
    return text;
}

static void a_program_is_run_again_ahead_of_the_end(void **state)
{
    struct bed_runner runner = {0};
    struct bed *b = *state;

    set_process(b);
    bed_begin_with(b, &runner, false, NULL);
    assert_string_equal(runner.words, "helper|--for|the shop|");
    assert_int_equal(runner.timeout_ms, PROCESS_TIMEOUT_MS);
    assert_int_equal(runner.max_bytes, PROCESS_ANSWER_MAX_BYTES);
    assert_int_equal(bed_status(b).state, CHAIN_WAITING);
    bed_ended(&runner, 0, answer(b, "ASIAONE", 3600), "a warning of no account");
    bed_serves(b, "profile+credential_process", "ASIAONE");
    bed_pass(b, 2401);
    bed_tick(b);
    assert_int_equal(runner.started, 2);
    bed_tick(b);
    assert_int_equal(runner.started, 2); /* one flight */
    bed_ended(&runner, 7, "secret-output", " the ticket\nhas ended\n");
    bed_serves(b, "profile+credential_process", "ASIAONE");
    assert_int_equal(bed_status(b).state, CHAIN_STALE);
    assert_string_equal(bed_status(b).detail, "exit status 7: the ticket has ended");
    bed_pass(b, 2);
    bed_tick(b);
    bed_ended(&runner, 0, answer(b, "ASIATWO", 3600), "");
    bed_serves(b, "profile+credential_process", "ASIATWO");
}

static void without_an_expiration_it_is_run_once(void **state)
{
    struct bed_runner runner = {0};
    struct bed *b = *state;

    set_process(b);
    bed_begin_with(b, &runner, false, NULL);
    bed_ended(&runner, 0, PLAIN, "");
    bed_serves(b, "profile+credential_process", "AKIAPROCESS");
    bed_pass(b, 1000000);
    bed_tick(b);
    assert_int_equal(runner.started, 1);
}

static void every_failure_of_the_program_is_its_own(void **state)
{
    static const struct {
        int status;
        const char *output;
        const struct fault *fault;
    } rows[] = {
        {1, PLAIN, &retrieval_process_failed},
        {0, "", &process_malformed},
        {0, "[]", &process_malformed},
        {0, "{\"Version\":1}", &process_malformed},
        {0, "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\"}", &process_malformed},
        {0, "{\"Version\":2,\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\"}",
         &process_bad_version},
        {0, "{\"Version\":1.0,\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\"}",
         &process_bad_version},
        {0, "{\"Version\":1,\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"\"}", &process_malformed},
        {0, "{\"Version\":1,\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\",\"SessionToken\":7}",
         &process_malformed},
        {0, "{\"Version\":1,\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\",\"Expiration\":\"x\"}",
         &process_malformed},
        {0, "{\"Version\":1,\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\","
            "\"Expiration\":\"1970-01-01T00:00:00Z\"}", &aws_credentials_expired_on_arrival},
        {0, "{\"Version\":1,\"AccessKeyId\":\"A B\",\"SecretAccessKey\":\"s\"}",
         &aws_credentials_malformed},
    };
    struct bed_runner runner = {0};
    struct bed *b = *state;

    set_process(b);
    bed_begin_with(b, &runner, false, NULL);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        bed_ended(&runner, rows[i].status, rows[i].output, "");
        bed_refuses(b, rows[i].fault);
        assert_lacks(bed_status(b).detail, "Secret");
        bed_pass(b, 61);
        bed_tick(b);
    }
    run_done *done = runner.done;
    runner.done = NULL;
    done(runner.arg, (err){&run_timed_out}, "", NULL);
    bed_refuses(b, &run_timed_out);
    assert_contains(bed_status(b).detail, "within the time allowed");
}

static void without_a_runner_it_is_refused(void **state)
{
    struct bed *b = *state;

    set_process(b);
    bed_begin(b);
    bed_refuses(b, &retrieval_no_runner);
}

static void a_chain_may_end_while_the_program_runs(void **state)
{
    struct bed_runner runner = {0};
    struct bed *b = *state;

    set_process(b);
    bed_begin_with(b, &runner, false, NULL);
    bed_stop(b);
    bed_ended(&runner, 0, PLAIN, ""); /* comes after the end, and does nothing */
}

#define T(name) cmocka_unit_test_setup_teardown(name, bed_open, bed_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_command_line_is_split_as_botocore_splits_it),
        cmocka_unit_test(there_may_be_so_many_words_and_no_more),
        T(a_program_is_run_again_ahead_of_the_end),
        T(without_an_expiration_it_is_run_once),
        T(every_failure_of_the_program_is_its_own),
        T(without_a_runner_it_is_refused),
        T(a_chain_may_end_while_the_program_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
