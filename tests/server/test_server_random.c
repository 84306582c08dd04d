/*
 * Random commands against the running program and against a plain array, which must
 * agree: pipelined, cut anywhere, with replies left unread for a while, across stops
 * and crashes. The seed is printed; KV_TEST_SEED gives one.
 */
#include "support/dice.h"
#include "support/scene.h"
#include "support/script.h"
#include "support/seeded.h"
#include "support/unit.h"
#include "support/watchdog.h"

#include <stdio.h>

enum { KEYS = 40, ROUND_COMMANDS = 300 };

struct model {
    struct dice dice;
    struct seeded stored; /* what the store must hold */
};

static size_t below(struct model *model, size_t limit)
{
    return (size_t)dice_below(&model->dice, limit);
}

/* Mostly short, sometimes so long that it goes another way through the server. */
static size_t random_length(struct model *model)
{
    size_t kind = below(model, 100);
    if (kind < 80) {
        return below(model, 200);
    }
    return kind < 95 ? below(model, 9000) : below(model, watchdog_scaled(400000, 150000));
}

static void add_set(struct model *model, struct script *requests, struct script *replies,
                    size_t key)
{
    uint64_t seed = dice_next(&model->dice);
    size_t length = random_length(model);
    seeded_set(&model->stored, key, seed, length);
    script_add_format(requests, "SET key%zu ", key);
    script_add_random(requests, seed, length);
    script_add_text(requests, "\n");
    script_add_text(replies, "success\n");
}

static void add_get(const struct model *model, struct script *requests,
                    struct script *replies, size_t key)
{
    script_add_format(requests, "GET key%zu\r\n", key);
    if (model->stored.values[key].is_stored) {
        script_add_random(replies, model->stored.values[key].seed,
                          model->stored.values[key].length);
        script_add_text(replies, "\n");
    } else {
        script_add_text(replies, "no value stored\n");
    }
}

static void add_delete(struct model *model, struct script *requests,
                       struct script *replies, size_t key)
{
    seeded_delete(&model->stored, key);
    script_add_format(requests, "DELETE key%zu\n", key);
    script_add_text(replies, "success\n");
}

/* A prefix that one key alone has, so that the order of KEYS does not matter. */
static void add_other(struct model *model, struct script *requests,
                      struct script *replies, size_t key)
{
    bool is_stored = model->stored.values[key].is_stored;
    switch (below(model, 5)) {
    case 0:
        script_add_text(requests, "COUNT\n");
        script_add_format(replies, "%zu\n", model->stored.count);
        break;
    case 1:
        script_add_format(requests, "EXISTS key%zu\n", key);
        script_add_text(replies, is_stored ? "1\n" : "0\n");
        break;
    case 2:
        key = key < 10 ? key + 10 : key;
        script_add_format(requests, "KEYS key%zu\n", key);
        if (model->stored.values[key].is_stored) {
            script_add_format(replies, "key%zu\n", key);
        }
        script_add_text(replies, "\n");
        break;
    case 3:
        script_add_format(requests, "GET  key%zu\n", key);
        script_add_text(replies, "error: usage: GET key\n");
        break;
    default:
        script_add_text(requests, "SYNC\n");
        script_add_text(replies, "success\n");
        break;
    }
}

static void add_command(struct model *model, struct script *requests,
                        struct script *replies)
{
    size_t key = below(model, KEYS);
    size_t kind = below(model, 100);
    if (kind < 35) {
        add_set(model, requests, replies, key);
    } else if (kind < 75) {
        add_get(model, requests, replies, key);
    } else if (kind < 85) {
        add_delete(model, requests, replies, key);
    } else {
        add_other(model, requests, replies, key);
    }
}

/* Sends in random pieces, half of the time reading only at the end. */
static void converse(struct model *model, const struct scene *scene,
                     struct slice requests, struct slice replies)
{
    struct client client = scene_client(scene);
    bool reads_late = below(model, 2) == 0;
    struct slice unsent = requests;
    while (unsent.length > 0) {
        size_t most = below(model, 3) == 0 ? 40 : 60000;
        size_t count = 1 + below(model, most);
        count = count < unsent.length ? count : unsent.length;
        client_send(&client, slice_first(unsent, count));
        unsent = slice_after(unsent, count);
        if (!reads_late && below(model, 4) == 0) {
            size_t arrived = client_take_equal(&client, replies);
            replies = slice_after(replies, arrived);
        }
    }
    client_finish(&client, replies);
}

static void expect_whole_model(struct model *model, const struct scene *scene)
{
    struct script requests = {0};
    struct script replies = {0};
    for (size_t key = 0; key < KEYS; key++) {
        add_get(model, &requests, &replies, key);
    }
    script_add_text(&requests, "COUNT\n");
    script_add_format(&replies, "%zu\n", model->stored.count);
    scene_talk_scripts(scene, &requests, &replies);
}

static void random_commands_agree_with_a_model(void **state)
{
    struct scene *scene = *state;
    struct model model = {.stored = {.count = 0}};
    dice_begin(&model.dice);
    for (size_t round = 0; round < watchdog_scaled(60, 6); round++) {
        struct script requests = {0};
        struct script replies = {0};
        for (size_t i = 0; i < ROUND_COMMANDS; i++) {
            add_command(&model, &requests, &replies);
        }
        converse(&model, scene, script_slice(&requests), script_slice(&replies));
        script_free(&requests);
        script_free(&replies);
        size_t ending = below(&model, 4);
        if (ending == 0) {
            scene_restart(scene);
        } else if (ending == 1) {
            scene_crash(scene);
        }
        expect_whole_model(&model, scene);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        ON_SERVER(random_commands_agree_with_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
