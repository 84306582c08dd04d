/*
 * Setting the stage and clearing it.
 */
#include "support/scene.h"

#include "support/script.h"
#include "support/unit.h"
#include "support/watchdog.h"

#include <sched.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* The scene that is set now. cmocka tears none down whose setup failed half-way. */
static struct scene *current;

static void clear_current(void)
{
    if (current != NULL) {
        struct scene *scene = current;
        current = NULL;
        client_close_all();
        server_process_end_all();
        if (scene->server.stderr_fd >= 0) {
            close(scene->server.stderr_fd);
        }
        tempdir_remove(&scene->tempdir);
        free(scene);
    }
}

int scene_setup(void **state)
{
    static bool is_registered;
    if (!is_registered) {
        is_registered = atexit(clear_current) == 0;
    }
    clear_current();
    struct scene *scene = calloc(1, sizeof *scene);
    assert_non_null(scene);
    scene->server.stderr_fd = -1;
    current = scene;
    tempdir_create(&scene->tempdir);
    scene->log = tempdir_file(&scene->tempdir, "kv.log");
    *state = scene;
    return 0;
}

int scene_setup_started(void **state)
{
    scene_setup(state);
    scene_start(*state, NULL);
    return 0;
}

int scene_teardown(void **state)
{
    struct scene *scene = *state;
    client_close_all();
    if (scene->server.pid > 0) {
        server_process_stop(&scene->server); /* whatever it went through */
    }
    clear_current();
    *state = NULL;
    return 0;
}

void scene_start(struct scene *scene, const char *const *options)
{
    server_process_start(&scene->server, scene->log.path, options);
}

void scene_restart(struct scene *scene)
{
    server_process_stop(&scene->server);
    scene_start(scene, NULL);
}

void scene_crash(struct scene *scene)
{
    server_process_kill(&scene->server);
    scene_start(scene, NULL);
}

struct client scene_client(const struct scene *scene)
{
    struct client client;
    client_open(&client, scene->server.port);
    return client;
}

/* Nothing wakes it but the client: bytes come in before it is seen asleep, not after. */
static bool is_refused(const struct scene *scene, const struct client *client)
{
    return client_is_unread(client) && server_process_is_asleep(&scene->server) &&
           client_is_unread(client);
}

size_t scene_send_until_refused(const struct scene *scene, struct client *client,
                                struct slice bytes)
{
    uint64_t deadline_ms = watchdog_deadline_ms();
    size_t sent = client_send_available(client, bytes);
    while (sent < bytes.length && !is_refused(scene, client)) {
        watchdog_check(deadline_ms, "the server to take no more requests");
        sched_yield();
        sent += client_send_available(client, slice_after(bytes, sent));
    }
    return sent;
}

void scene_talk(const struct scene *scene, struct slice request, struct slice reply)
{
    struct client client = scene_client(scene);
    client_exchange(&client, request, reply);
    client_finish(&client, SLICE_LITERAL(""));
}

void scene_talk_text(const struct scene *scene, const char *request, const char *reply)
{
    scene_talk(scene, slice_of_text(request), slice_of_text(reply));
}

void scene_talk_scripts(const struct scene *scene, struct script *requests,
                        struct script *replies)
{
    scene_talk(scene, script_slice(requests), script_slice(replies));
    script_free(requests);
    script_free(replies);
}

uint64_t scene_log_length(const struct scene *scene)
{
    struct stat state;
    assert_int_equal(stat(scene->log.path, &state), 0);
    return (uint64_t)state.st_size;
}
