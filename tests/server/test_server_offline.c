/*
 * The offline modes of the running program: exit statuses, a log that is served, and
 * output that is closed. What they print of which logs is in test_offline.
 */
#include "support/image.h"
#include "support/scene.h"
#include "support/unit.h"

#include <stdio.h>
#include <sys/stat.h>

enum { VERIFY, DUMP, DUMP_RESP, SALVAGE, MODE_COUNT };

/* What it says is in the scene, what it prints in a file. */
static void expect_mode(struct scene *scene, size_t mode, int status, bool has_output)
{
    struct tempdir_file new_log = tempdir_file(&scene->tempdir, "new.log");
    struct tempdir_file out = tempdir_file(&scene->tempdir, "out");
    const char *const modes[MODE_COUNT][3] = {
        {"--verify"}, {"--dump"}, {"--dump=resp"}, {"--salvage", new_log.path}};
    struct server_launch launch = {
        .log = scene->log.path, .options = modes[mode], .stdout_path = out.path};
    struct stat info;
    server_process_launch(&scene->server, &launch);
    assert_int_equal(server_process_wait(&scene->server), status);
    assert_int_equal(stat(out.path, &info), 0);
    assert_int_equal(info.st_size > 0, has_output);
    assert_int_equal(stat(new_log.path, &info) == 0, mode == SALVAGE && status == 0);
}

static void write_log(const struct scene *scene, struct slice bytes)
{
    struct script script = {0};
    script_add(&script, bytes);
    script_write_file(&script, scene->log.path);
    script_free(&script);
}

static void the_modes_tell_by_their_status_how_it_went(void **state)
{
    struct scene *scene = *state;
    struct image image = {0};
    for (size_t mode = 0; mode < MODE_COUNT; mode++) {
        expect_mode(scene, mode, 1, false); /* there is nothing */
        assert_true(scene->server.messages_length > 0);
    }
    write_log(scene, SLICE_LITERAL("Dear diary, this is no log at all.\n"));
    for (size_t mode = 0; mode < MODE_COUNT; mode++) {
        expect_mode(scene, mode, 3, false);
        assert_true(scene->server.messages_length > 0);
    }
    image_put(&image, SLICE_LITERAL("bad"), SLICE_LITERAL("a\0b"));
    image_put_text(&image, "good", "value");
    write_log(scene, image_slice(&image));
    expect_mode(scene, DUMP, 1, true); /* one was left out */
    image_free(&image);
    image_begin_first(&image);
    image_put_text(&image, "key", "value");
    image_seal(&image);
    write_log(scene, image_slice(&image));
    for (size_t mode = 0; mode < MODE_COUNT; mode++) {
        expect_mode(scene, mode, 0, true);
        assert_int_equal(scene->server.messages_length, 0);
    }
    image_free(&image);
}

static void the_modes_refuse_a_log_that_is_served(void **state)
{
    struct scene *scene = *state;
    scene_start(scene, NULL);
    scene_talk_text(scene, "SET k v\n", "success\n");
    struct server_process served = scene->server;
    for (size_t mode = 0; mode < MODE_COUNT; mode++) {
        expect_mode(scene, mode, 1, false);
        assert_non_null(strstr(scene->server.messages, "is in use by process"));
    }
    scene->server = served;
    scene_talk_text(scene, "GET k\n", "v\n");
}

/* Closed, stdout is no place where output gets lost in silence. */
static void f74_the_modes_fail_when_their_output_is_closed(void **state)
{
    struct scene *scene = *state;
    struct image image;
    struct tempdir_file new_log = tempdir_file(&scene->tempdir, "new.log");
    const char *const modes[][3] = {{"--verify"},
                                    {"--dump"},
                                    {"--dump=resp"},
                                    {"--salvage", new_log.path},
                                    {"--version"}};
    image_begin_first(&image);
    image_put_text(&image, "key", "value");
    image_seal(&image);
    write_log(scene, image_slice(&image));
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        struct server_launch launch = {
            .log = scene->log.path, .options = modes[i], .has_closed_stdio = true};
        server_process_launch(&scene->server, &launch);
        assert_int_equal(server_process_wait(&scene->server), 1);
    }
    image_free(&image);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        ON_SCENE(the_modes_tell_by_their_status_how_it_went),
        ON_SCENE(the_modes_refuse_a_log_that_is_served),
        ON_SCENE(f74_the_modes_fail_when_their_output_is_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
