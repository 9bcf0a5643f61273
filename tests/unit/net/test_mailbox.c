/* Letters of several threads: each opened once, on the owner's thread, a sender's in its order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "net/mailbox.h"

#include <cmocka.h> /* last: its fail() would hide ours */

enum { SENDERS = 4, LETTERS = 2000 };

struct numbered {
    struct letter letter;
    unsigned sender, number;
};

static struct numbered letters[SENDERS][LETTERS];
static struct mailbox mailbox;
static unsigned next_number[SENDERS], opened;
static pthread_t owner;

static void open_numbered(struct letter *letter)
{
    struct numbered *n = CONTAINER_OF(letter, struct numbered, letter);

    assert_true(pthread_equal(pthread_self(), owner));
    assert_int_equal(n->number, next_number[n->sender]);
    next_number[n->sender]++;
    if (++opened == SENDERS * LETTERS)
        mailbox_close(&mailbox);
}

static void *send_all(void *arg)
{
    struct numbered *mine = arg;

    for (unsigned i = 0; i < LETTERS; i++)
        mailbox_post(&mailbox, &mine[i].letter, open_numbered);
    return NULL;
}

static void every_letter_is_opened_once_in_its_senders_order(void **state)
{
    pthread_t threads[SENDERS];
    uv_loop_t loop;

    (void)state;
    owner = pthread_self();
    assert_int_equal(uv_loop_init(&loop), 0);
    mailbox_init(&mailbox, &loop);
    for (unsigned s = 0; s < SENDERS; s++) {
        for (unsigned i = 0; i < LETTERS; i++) {
            letters[s][i] = (struct numbered){.sender = s, .number = i};
            list_init(&letters[s][i].letter.link);
        }
        assert_int_equal(pthread_create(&threads[s], NULL, send_all, letters[s]), 0);
    }
    /* Ends when the mailbox lets go of the loop: a letter left behind would keep it here. */
    uv_run(&loop, UV_RUN_DEFAULT);
    for (unsigned s = 0; s < SENDERS; s++)
        pthread_join(threads[s], NULL);
    assert_int_equal(opened, SENDERS * LETTERS);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static struct numbered again;
static unsigned turns;

static void open_again(struct letter *letter)
{
    if (++turns == 1)
        mailbox_post(&mailbox, letter, open_again); /* it is the opener's own by then */
}

static void what_is_posted_while_closing_is_opened_too(void **state)
{
    uv_loop_t loop;

    (void)state;
    assert_int_equal(uv_loop_init(&loop), 0);
    mailbox_init(&mailbox, &loop);
    list_init(&again.letter.link);
    mailbox_post(&mailbox, &again.letter, open_again);
    mailbox_close(&mailbox);
    assert_int_equal(turns, 2);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_letter_is_opened_once_in_its_senders_order),
        cmocka_unit_test(what_is_posted_while_closing_is_opened_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
